import { Button } from '@mantine/core';
import { type ReactNode, type Ref, useId, useRef, useState } from 'react';

import { api, ApiError, type Purchase } from '../api/client';
import { formatDate, formatDateTime, formatList, formatSoon } from '../format';
import { t } from '../texts';
import { DownIcon } from '../ui/icons';
import { Badge, Day, Notice, ProviderBadge, Small, Spinner, Time } from '../ui/ui';
import classes from './customer.module.css';
import { MethodName } from './PaymentMethods';
import {
  accessTone,
  failures,
  hasEnded,
  keptBy,
  nextTry,
  pendingCancel,
  productName,
  refusedCancel,
  statusTone,
  withNames,
} from './purchase';

export function PurchaseCard({
  ref,
  customerId,
  purchase,
  purchases,
  onCancel,
  onChanged,
}: {
  ref: Ref<HTMLElement>;
  customerId: string;
  purchase: Purchase;
  /** All of the customer's. */
  purchases: Purchase[];
  onCancel: () => void;
  onChanged: (purchase: Purchase, changed: boolean) => void;
}) {
  const heading = useId();
  const { access } = purchase;
  const name = productName(purchase);
  return (
    <article ref={ref} className={classes.card} aria-labelledby={heading}>
      <header className={classes.cardHead}>
        <div className={classes.cardTitle}>
          <h3 id={heading} tabIndex={-1} className={classes.product}>
            {name}
          </h3>
          <div className={classes.kind}>
            {t.kind[purchase.kind]}
            {purchase.payment_provider === 'stripe_test' && (
              <ProviderBadge provider={purchase.payment_provider} />
            )}
          </div>
        </div>
        <dl className={classes.states}>
          <div>
            <dt>{t.purchase.billing}</dt>
            <dd>
              <Badge
                tone={statusTone[purchase.status]}
                title={t.statusHint[purchase.status] ?? undefined}
              >
                {t.status[purchase.status]}
              </Badge>
            </dd>
          </div>
          <div>
            <dt>{t.purchase.accessLabel}</dt>
            <dd>
              <Badge tone={accessTone[access.state]}>{t.access[access.state]}</Badge>
            </dd>
          </div>
        </dl>
      </header>
      <Notices
        customerId={customerId}
        purchase={purchase}
        purchases={purchases}
        onChanged={onChanged}
      />
      <Facts purchase={purchase} />
      <Chats purchase={purchase} purchases={purchases} />
      <footer className={classes.cardFoot}>
        <History purchase={purchase} purchases={purchases} />
        {purchase.cancel_options.length > 0 && (
          <Button
            data-cancel
            className={classes.cancel}
            variant="default"
            size="sm"
            aria-label={t.purchase.cancelOf(name)}
            onClick={onCancel}
          >
            {t.purchase.cancel}
          </Button>
        )}
      </footer>
    </article>
  );
}

/** What needs attention or is under way. */
function Notices({
  customerId,
  purchase,
  purchases,
  onChanged,
}: {
  customerId: string;
  purchase: Purchase;
  purchases: Purchase[];
  onChanged: (purchase: Purchase, changed: boolean) => void;
}) {
  const pending = pendingCancel(purchase);
  const refused = refusedCancel(purchase);
  const next = nextTry(purchase);
  const removing = purchase.access.state === 'revoking' || next !== null;
  const failed = failures(purchase);
  const hint = t.statusHint[purchase.status];
  const notices: ReactNode[] = [];
  if (pending !== null) {
    notices.push(
      <Notice
        key="pending"
        tone="info"
        busy
        title={pending === 'immediately' ? t.purchase.stripePending : t.purchase.schedulePending}
      >
        {t.purchase.stripePendingAdvice}
      </Notice>,
    );
  }
  if (refused !== null) {
    notices.push(
      <Notice key="refused" tone="bad" title={t.purchase.refused(formatDate(refused.at))}>
        {t.purchase.refusedAdvice}
        {refused.detail !== null && <div>{t.cancel.said(refused.detail)}</div>}
      </Notice>,
    );
  }
  if (removing && pending === null) {
    const isAhead = next !== null && Date.parse(next) > Date.now();
    notices.push(
      <Notice
        key="removing"
        tone="info"
        busy
        title={isAhead ? t.purchase.removingNext(formatSoon(next)) : t.purchase.removing}
      />,
    );
  }
  if (failed.length > 0) {
    notices.push(
      <FailedRemoval
        key="failed"
        customerId={customerId}
        purchase={purchase}
        reasons={[...new Set(failed.map((chat) => chat.detail ?? t.purchase.failedUnknown))]}
        onChanged={onChanged}
      />,
    );
  }
  if (purchase.cancel_at !== null && !hasEnded(purchase)) {
    notices.push(
      <Notice key="ends" tone="warn" title={t.purchase.endsOn(formatDate(purchase.cancel_at))} />,
    );
  }
  if (hint !== undefined && !hasEnded(purchase)) {
    const isFinal = purchase.status === 'failed';
    notices.push(
      <Notice key="hint" tone={isFinal ? 'neutral' : statusTone[purchase.status]}>
        {hint}
      </Notice>,
    );
  }
  if (purchase.access.state === 'kept') {
    const through = keptThrough(purchase, purchases);
    notices.push(
      <Notice key="kept" tone="info">
        {through ?? t.purchase.keptUnknown}
      </Notice>,
    );
  }
  return notices.length > 0 && <div className={classes.notices}>{notices}</div>;
}

/** The purchases that keep the person in any of this one's chats, in words. */
function keptThrough(purchase: Purchase, purchases: Purchase[]): string | null {
  const kept = purchase.access.chats.filter((chat) => chat.state === 'kept');
  const others = new Set(
    kept.flatMap((chat) => keptBy(purchase, purchases, chat).map(productName)),
  );
  if (others.size > 0) return t.purchase.keptThrough(formatList([...others]));
  return kept.find((chat) => chat.detail !== null)?.detail ?? null;
}

function FailedRemoval({
  customerId,
  purchase,
  reasons,
  onChanged,
}: {
  customerId: string;
  purchase: Purchase;
  reasons: string[];
  onChanged: (purchase: Purchase, changed: boolean) => void;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const sent = useRef(false);
  const retry = async () => {
    if (sent.current) return;
    sent.current = true;
    setBusy(true);
    setError(null);
    try {
      const change = await api.retryRevocation(
        customerId,
        purchase.purchase_id,
        crypto.randomUUID(),
      );
      onChanged(change.purchase, change.changed);
    } catch (caught) {
      setError(caught instanceof ApiError ? caught : new ApiError(0, 'fault'));
    } finally {
      sent.current = false;
      setBusy(false);
    }
  };
  const trouble = error && t.trouble(error.code);
  return (
    <Notice
      tone="bad"
      title={t.purchase.failedTitle}
      action={
        <Button
          size="compact-sm"
          color="red"
          aria-disabled={busy || undefined}
          aria-label={t.purchase.retryOf(productName(purchase))}
          leftSection={busy && <Spinner />}
          onClick={() => void retry()}
        >
          {busy ? t.purchase.retrying : t.purchase.retry}
        </Button>
      }
    >
      {reasons.map((reason) => (
        <div key={reason}>{reason}</div>
      ))}
      <div>{t.purchase.failedAdvice}</div>
      {trouble && (
        <div role="alert">
          <strong>{t.purchase.retryFailed}.</strong> {trouble.title}. {trouble.advice}
          {error.requestId && <Small>{t.requestId(error.requestId)}</Small>}
        </div>
      )}
    </Notice>
  );
}

function Facts({ purchase }: { purchase: Purchase }) {
  const ended = hasEnded(purchase);
  const facts: [string, ReactNode][] = [
    [
      purchase.kind === 'access_code' ? t.purchase.redeemed : t.purchase.purchased,
      <Day at={purchase.purchased_at} />,
    ],
  ];
  if (ended && purchase.ended_at !== null) {
    facts.push([
      t.purchase.ended,
      <>
        <Day at={purchase.ended_at} />
        {purchase.end_reason !== null && (
          <span className={classes.reason}>{t.purchase.because(purchase.end_reason)}</span>
        )}
      </>,
    ]);
  } else if (purchase.kind === 'access_code') {
    facts.push([
      t.purchase.expires,
      purchase.expires_at === null ? t.purchase.forLife : <Day at={purchase.expires_at} />,
    ]);
  } else if (purchase.status === 'trialing' && purchase.trial_end !== null) {
    facts.push([t.purchase.trialEnds, <Day at={purchase.trial_end} />]);
  } else if (purchase.current_period_end !== null && purchase.cancel_at === null) {
    const renews = ['active', 'past_due'].includes(purchase.status);
    facts.push([
      renews ? t.purchase.renews : t.purchase.periodEnds,
      <Day at={purchase.current_period_end} />,
    ]);
  }
  if (purchase.payment_method !== null) {
    facts.push([t.purchase.paymentMethod, <MethodName method={purchase.payment_method} />]);
  }
  if (purchase.access_code !== null) {
    facts.push([
      t.purchase.accessCode,
      <span className={classes.mono}>{purchase.access_code}</span>,
    ]);
  }
  facts.push([
    t.purchase.telegram,
    purchase.access.telegram_user_id === null ? (
      t.access.not_linked
    ) : (
      <span className={classes.mono}>{purchase.access.telegram_user_id}</span>
    ),
  ]);
  return (
    <dl className={classes.facts}>
      {facts.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Chats({ purchase, purchases }: { purchase: Purchase; purchases: Purchase[] }) {
  const { chats } = purchase.access;
  if (chats.length === 0) return null;
  return (
    <div>
      <h4 className={classes.label}>{t.purchase.chats}</h4>
      <ul className={classes.chats}>
        {chats.map((chat, n) => {
          const others = chat.state === 'kept' ? keptBy(purchase, purchases, chat) : [];
          return (
            <li key={`${chat.chat_id} ${n}`}>
              <span className={classes.mono}>{chat.chat_id}</span>
              <span className={classes.chatState} data-state={chat.state}>
                {t.purchase.chatState[chat.state]}
              </span>
              {others.length > 0 && (
                <span className={classes.chatDetail}>
                  {t.cancel.through(formatList(others.map(productName)))}
                </span>
              )}
            </li>
          );
        })}
      </ul>
    </div>
  );
}

function History({ purchase, purchases }: { purchase: Purchase; purchases: Purchase[] }) {
  if (purchase.history.length === 0) return <span />;
  return (
    <details className={classes.history}>
      <summary>
        {t.customer.history}
        <DownIcon size={15} />
      </summary>
      <ol>
        {purchase.history.map((entry, n) => (
          <li key={`${entry.at} ${entry.event} ${n}`}>
            <Time iso={entry.at}>{formatDateTime(entry.at)}</Time>
            <span>
              {t.history.event(entry.event)}
              <span className={classes.historyBy}>
                {' · '}
                {t.history.actor(entry.actor)}
              </span>
              {entry.detail !== null && (
                <span className={classes.historyDetail}>
                  {withNames(t.history.detail(entry.detail), purchases)}
                </span>
              )}
            </span>
          </li>
        ))}
      </ol>
    </details>
  );
}
