import { Button } from '@mantine/core';
import { type CSSProperties, type ReactNode, useEffect, useRef, useState } from 'react';

import { ApiError, type PaymentProvider } from '../api/client';
import { login } from '../auth/login';
import { formatDate, formatExact } from '../format';
import { t, type Trouble } from '../texts';
import { CheckIcon, CopyIcon, InfoIcon, WarnIcon } from './icons';
import classes from './ui.module.css';

export type Tone = 'neutral' | 'good' | 'info' | 'warn' | 'bad';

export function Badge({
  tone = 'neutral',
  title,
  children,
}: {
  tone?: Tone;
  title?: string | undefined;
  children: ReactNode;
}) {
  return (
    <span className={classes.badge} data-tone={tone} title={title}>
      {children}
    </span>
  );
}

export function ProviderBadge({ provider }: { provider: PaymentProvider }) {
  return <Badge tone={provider === 'stripe' ? 'info' : 'warn'}>{t.provider[provider]}</Badge>;
}

export function Hidden({ children }: { children: ReactNode }) {
  return <span className={classes.hidden}>{children}</span>;
}

/** A point in time; the exact one, to the second, is written when somebody points at it. */
export function Time({ iso, children }: { iso: string; children: ReactNode }) {
  return (
    <time
      dateTime={iso}
      onPointerEnter={({ currentTarget }) => (currentTarget.title = formatExact(iso))}
    >
      {children}
    </time>
  );
}

/** `3 Dec 2026`. */
export function Day({ at }: { at: string }) {
  return <Time iso={at}>{formatDate(at)}</Time>;
}

/** Says its text to screen readers whenever it changes. */
export function Announcer({ children }: { children: ReactNode }) {
  return (
    <div role="status" className={classes.hidden}>
      {children}
    </div>
  );
}

export function Spinner() {
  return <span className={classes.spinner} aria-hidden="true" />;
}

export function Notice({
  tone = 'neutral',
  title,
  children,
  action,
  busy = false,
  alert = false,
}: {
  tone?: Tone;
  title?: ReactNode;
  children?: ReactNode;
  action?: ReactNode;
  busy?: boolean;
  /** Read out at once. */
  alert?: boolean;
}) {
  return (
    <div className={classes.notice} data-tone={tone} role={alert ? 'alert' : undefined}>
      {busy ? (
        <Spinner />
      ) : tone === 'warn' || tone === 'bad' ? (
        <WarnIcon />
      ) : tone === 'good' ? (
        <CheckIcon />
      ) : (
        <InfoIcon />
      )}
      <div className={classes.noticeBody}>
        {title !== undefined && <p className={classes.noticeTitle}>{title}</p>}
        {children !== undefined && <div className={classes.noticeText}>{children}</div>}
        {action !== undefined && <div className={classes.noticeAction}>{action}</div>}
      </div>
    </div>
  );
}

export function Small({ children }: { children: ReactNode }) {
  return <p className={classes.small}>{children}</p>;
}

/** A whole area that has nothing else to show: what is so, and what to do. */
export function State({
  icon,
  trouble,
  detail,
  alert = false,
  isPage = false,
  children,
}: {
  icon: ReactNode;
  trouble: Trouble;
  detail?: string | null | undefined;
  alert?: boolean;
  /** Stands for the page, whose heading it is. */
  isPage?: boolean;
  children?: ReactNode;
}) {
  const Heading = isPage ? 'h1' : 'h2';
  return (
    <div className={classes.state} role={alert ? 'alert' : undefined}>
      {icon}
      <Heading className={classes.stateTitle}>{trouble.title}</Heading>
      <p className={classes.stateText}>{trouble.advice}</p>
      {detail && <Small>{detail}</Small>}
      {children !== undefined && <div className={classes.stateActions}>{children}</div>}
    </div>
  );
}

/** What a failed reading shows in place of its content. */
export function Failed({
  error,
  what,
  onRetry,
  isPage = false,
  children,
}: {
  error: Error;
  what: string;
  onRetry: () => void;
  isPage?: boolean;
  children?: ReactNode;
}) {
  const code = error instanceof ApiError ? error.code : 'fault';
  const requestId = error instanceof ApiError ? error.requestId : null;
  const trouble = t.trouble(code);
  const mustLogIn = code === '401' || code === '403';
  return (
    <State
      icon={<WarnIcon size={32} />}
      trouble={{ title: what, advice: `${trouble.title}. ${trouble.advice}` }}
      detail={requestId && t.requestId(requestId)}
      alert
      isPage={isPage}
    >
      {children}
      {mustLogIn ? (
        <Button onClick={() => void login.out()}>{t.logInAgain}</Button>
      ) : (
        <Button onClick={onRetry}>{t.tryAgain}</Button>
      )}
    </State>
  );
}

function initialsOf(name: string): string {
  const words = name.trim().split(/\s+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => word && [...word].find((letter) => /\p{L}|\p{N}/u.test(letter)))
    .filter((letter) => letter !== undefined);
  return letters.join('').toLocaleUpperCase('en');
}

/** The same person always has the same colour. */
function hueOf(text: string): number {
  let hash = 0;
  for (const letter of text) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x9e3779b1);
  return (hash >>> 8) % 360;
}

export function Avatar({
  url,
  name,
  id,
  size,
}: {
  url: string | null;
  name: string;
  id: string;
  size: number;
}) {
  const [failed, setFailed] = useState<string | null>(null);
  // Pictures come from anywhere a storefront says; only over TLS.
  const shown = url?.startsWith('https://') && url !== failed ? url : null;
  const style = {
    '--hue': String(hueOf(id)),
    width: size,
    height: size,
    fontSize: Math.round(size * 0.38),
  } as CSSProperties;
  return (
    <span className={classes.avatar} style={style} aria-hidden="true">
      {shown ? (
        <img
          src={shown}
          alt=""
          width={size}
          height={size}
          loading="lazy"
          decoding="async"
          referrerPolicy="no-referrer"
          onError={() => setFailed(shown)}
        />
      ) : (
        initialsOf(name) || '?'
      )}
    </span>
  );
}

export function Copy({ text, what, mono = false }: { text: string; what: string; mono?: boolean }) {
  const [copied, setCopied] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setCopied(false), 2000);
  };
  return (
    <button
      type="button"
      className={classes.copy}
      onClick={() => void copy()}
      title={t.copy(what)}
      style={mono ? { fontFamily: 'var(--mono)', fontSize: '0.93em' } : undefined}
    >
      <span>{text}</span>
      {copied ? <CheckIcon size={15} /> : <CopyIcon size={15} />}
      <Hidden>{copied ? t.copied : t.copy(what)}</Hidden>
    </button>
  );
}
