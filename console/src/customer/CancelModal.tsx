import { Button, Modal, Radio, Textarea, TextInput } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { type SubmitEvent, useEffect, useRef, useState } from 'react';

import {
  api,
  ApiError,
  type CancelRequest,
  type Purchase,
  type PurchaseChange,
  type When,
} from '../api/client';
import { login } from '../auth/login';
import { formatDate, formatList } from '../format';
import { t } from '../texts';
import { Notice, Small, Spinner } from '../ui/ui';
import classes from './customer.module.css';
import { effectOf, periodEnd, productName, throughName } from './purchase';

interface Props {
  customerId: string;
  purchase: Purchase;
  /** All of the customer's. */
  purchases: Purchase[];
  onClose: () => void;
  onDone: (change: PurchaseChange) => void;
  /** What is shown of the purchase is no longer true. */
  onOutdated: () => void;
}

/** The window that cancels a purchase; open while there is one. */
export function CancelModal({
  purchase,
  ...rest
}: Omit<Props, 'purchase'> & { purchase: Purchase | undefined }) {
  const isPhone = useMediaQuery('(width < 640px)', false, { getInitialValueInEffect: false });
  const [sending, setSending] = useState(false);
  return (
    <Modal.Root
      opened={purchase !== undefined}
      onClose={rest.onClose}
      closeOnEscape={!sending}
      closeOnClickOutside={false}
      // The page gives the focus back itself: the button it came from may be gone by then.
      returnFocus={false}
      // Done by theme.css: Mantine's lock writes a style element, which the policy blocks.
      lockScroll={false}
      centered={!isPhone}
      fullScreen={isPhone}
      size={520}
      radius={isPhone ? 0 : 'lg'}
      transitionProps={{ duration: 120, exitDuration: 0 }}
    >
      <Modal.Overlay />
      <Modal.Content>
        {purchase && (
          <>
            {/* Mantine's own head is a header element, and the page has one already. */}
            <div className={classes.modalHead}>
              <Modal.Title className={classes.modalTitle}>
                {t.cancel.title(productName(purchase))}
              </Modal.Title>
            </div>
            <Modal.Body className={classes.modalBody}>
              <CancelForm {...rest} purchase={purchase} sending={sending} onSending={setSending} />
            </Modal.Body>
          </>
        )}
      </Modal.Content>
    </Modal.Root>
  );
}

/** Errors after which there is nothing left to send. */
const FINAL = new Set(['purchase_already_ended', 'not_found']);

function CancelForm({
  customerId,
  purchase,
  purchases,
  sending,
  onSending,
  onClose,
  onDone,
  onOutdated,
}: Props & { sending: boolean; onSending: (sending: boolean) => void }) {
  const [when, setWhen] = useState<When>('immediately');
  const [phrase, setPhrase] = useState('');
  const [touched, setTouched] = useState(false);
  const [reason, setReason] = useState('');
  const [error, setError] = useState<ApiError | null>(null);
  const inFlight = useRef(false);
  const request = useRef({ key: '', body: '' });

  const failure = useRef<HTMLDivElement>(null);
  useEffect(() => {
    failure.current?.scrollIntoView({ block: 'nearest' });
  }, [error]);

  const choice = purchase.cancel_options.includes('period_end');
  const isConfirmed = phrase === t.cancel.phrase;
  const isFinal = error !== null && FINAL.has(error.code);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (!isConfirmed || inFlight.current) return;
    const body: CancelRequest = {
      when: choice ? when : 'immediately',
      confirmation: phrase,
      ...(reason.trim() && { reason: reason.trim() }),
    };
    // One key for one wish: sent again after a lost answer, it is carried out once.
    const text = JSON.stringify(body);
    if (request.current.body !== text) {
      request.current = { key: crypto.randomUUID(), body: text };
    }
    inFlight.current = true;
    onSending(true);
    setError(null);
    try {
      const change = await api.cancel(customerId, purchase.purchase_id, body, request.current.key);
      onDone(change);
    } catch (caught) {
      const refused = caught instanceof ApiError ? caught : new ApiError(0, 'fault');
      setError(refused);
      // An answer that decides is remembered under its key; the next try is a new wish.
      const isOpen = refused.status === 0 || (refused.status >= 500 && refused.status !== 502);
      if (!isOpen) request.current = { key: '', body: '' };
      // The purchase ended meanwhile, or its history tells of the refusal.
      if (FINAL.has(refused.code) || refused.code === 'stripe_refused') onOutdated();
    } finally {
      inFlight.current = false;
      onSending(false);
    }
  };

  const trouble = error && t.cancelTrouble(error.code);
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <div className={classes.form}>
        <p className={classes.warning}>{t.cancel.warning}</p>
        {!isFinal && (
          <>
            {choice && (
              <WhenToCancel
                purchase={purchase}
                when={when}
                onChange={(chosen) => !sending && setWhen(chosen)}
              />
            )}
            <EffectList
              purchase={purchase}
              purchases={purchases}
              when={choice ? when : 'immediately'}
            />
            <Textarea
              label={t.cancel.reason}
              description={t.cancel.reasonHint}
              maxLength={500}
              rows={2}
              readOnly={sending}
              value={reason}
              onChange={(event) => setReason(event.currentTarget.value)}
            />
            <TextInput
              label={t.cancel.phraseLabel}
              data-autofocus={!choice || undefined}
              autoComplete="off"
              autoCapitalize="characters"
              autoCorrect="off"
              spellCheck={false}
              readOnly={sending}
              value={phrase}
              error={touched && phrase !== '' && !isConfirmed && t.cancel.phraseWrong}
              onBlur={() => setTouched(true)}
              onChange={(event) => setPhrase(event.currentTarget.value)}
            />
          </>
        )}
        {trouble && (
          <div className={classes.failure} ref={failure}>
            <Notice
              tone="bad"
              alert
              title={trouble.title}
              action={
                error.status === 401 ? (
                  <Button size="compact-sm" onClick={() => void login.again()}>
                    {t.logInAgain}
                  </Button>
                ) : undefined
              }
            >
              {trouble.advice}
              {error.code === 'stripe_refused' && error.detail !== null && (
                <div>{t.cancel.said(error.detail)}</div>
              )}
              {error.requestId !== null && <Small>{t.requestId(error.requestId)}</Small>}
            </Notice>
          </div>
        )}
      </div>
      <div className={classes.actions}>
        <Button variant="default" disabled={sending} onClick={onClose}>
          {isFinal ? t.cancel.close : t.cancel.keep}
        </Button>
        {!isFinal && (
          <Button
            type="submit"
            color="red"
            disabled={!isConfirmed}
            // Not disabled while it sends: the keyboard would lose its place.
            aria-disabled={sending || undefined}
            leftSection={sending && <Spinner />}
          >
            {sending ? t.cancel.sending : t.cancel.confirm}
          </Button>
        )}
      </div>
    </form>
  );
}

function WhenToCancel({
  purchase,
  when,
  onChange,
}: {
  purchase: Purchase;
  when: When;
  onChange: (when: When) => void;
}) {
  const end = periodEnd(purchase);
  const atEnd =
    end === null
      ? undefined
      : purchase.cancel_at !== null
        ? t.cancel.alreadyScheduled(formatDate(end))
        : t.cancel.on(formatDate(end));
  return (
    <Radio.Group label={t.cancel.when} value={when} onChange={(value) => onChange(value as When)}>
      <div className={classes.whens}>
        <Radio
          value="immediately"
          data-autofocus
          label={t.cancel.immediately}
          description={t.cancel.rightNow}
        />
        <Radio value="period_end" label={t.cancel.periodEnd} description={atEnd} />
      </div>
    </Radio.Group>
  );
}

function EffectList({
  purchase,
  purchases,
  when,
}: {
  purchase: Purchase;
  purchases: Purchase[];
  when: When;
}) {
  const end = periodEnd(purchase);
  const isScheduled = when === 'period_end' && purchase.cancel_at !== null;
  const { leaves, keeps } = effectOf(purchase, purchases, when);
  const leaving =
    when === 'period_end' && end !== null ? t.cancel.leavesOn(formatDate(end)) : t.cancel.leavesNow;
  return (
    <section className={classes.effect} aria-live="polite" aria-labelledby="effect">
      <h3 id="effect" className={classes.effectTitle}>
        {t.cancel.effect}
      </h3>
      {isScheduled && <p>{t.cancel.noChange}</p>}
      {leaves.length > 0 && (
        <div>
          <div className={classes.effectHead}>{leaving}</div>
          <ul>
            {leaves.map((chatId) => (
              <li key={chatId}>
                <span className={classes.mono}>{t.purchase.chat(chatId)}</span>
              </li>
            ))}
          </ul>
        </div>
      )}
      {keeps.length > 0 && (
        <div>
          <div className={classes.effectHead}>{t.cancel.stays}</div>
          <ul>
            {keeps.map(({ chatId, through }) => (
              <li key={chatId}>
                <span className={classes.mono}>{t.purchase.chat(chatId)}</span>{' '}
                {t.cancel.through(formatList(through.map(throughName)))}
              </li>
            ))}
          </ul>
        </div>
      )}
      {leaves.length === 0 && keeps.length === 0 && (
        <p>{purchase.access.telegram_user_id === null ? t.cancel.notLinked : t.cancel.noChats}</p>
      )}
      <p>{purchase.kind === 'subscription' ? t.cancel.noCharges : t.cancel.noRefund}</p>
    </section>
  );
}
