import { Button, Skeleton } from '@mantine/core';
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useLocation, useParams, useRouter } from '@tanstack/react-router';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import {
  api,
  ApiError,
  type Customer,
  type CustomerDetail,
  type CustomerPage as Page,
  type Purchase,
} from '../api/client';
import { customerKey, customerQuery } from '../api/queries';
import { formatDate } from '../format';
import { t } from '../texts';
import { InfoIcon, LeftIcon } from '../ui/icons';
import {
  Announcer,
  Avatar,
  Badge,
  Day,
  Copy,
  Failed,
  Hidden,
  Notice,
  ProviderBadge,
  Spinner,
  State,
} from '../ui/ui';
import classes from './customer.module.css';
import { CancelModal } from './CancelModal';
import { PaymentMethods } from './PaymentMethods';
import { hasEnded, isUnsettled, nextTry, productName, refusedCancel } from './purchase';
import { PurchaseCard } from './PurchaseCard';
import { Transactions } from './Transactions';

const SECOND = 1000;

/** How long until it is worth looking again; `false` where nothing changes by itself. */
function nextLook(purchases: Purchase[]): number | false {
  const open = purchases.filter(isUnsettled);
  if (open.length === 0) return false;
  const waits = open.map((purchase) => {
    const at = nextTry(purchase);
    return at === null ? 0 : Date.parse(at) - Date.now();
  });
  // Soon after the next try; in between now and then, for somebody may help.
  return Math.min(Math.max(Math.min(...waits), 1.5 * SECOND), 15 * SECOND);
}

export function CustomerPage() {
  const { customerId } = useParams({ from: '/customers/$customerId' });
  const queryClient = useQueryClient();
  const customer = useQuery({
    ...customerQuery(customerId),
    refetchInterval: (query) => nextLook(query.state.data?.purchases ?? []),
  });
  const detail = customer.data;
  const known =
    detail?.customer ??
    inLists(queryClient.getQueriesData<Page>({ queryKey: ['customers'] }), customerId);

  const name = known && nameOf(known);
  useEffect(() => {
    document.title = name ? `${name} · ${t.appName}` : t.appName;
  }, [name]);

  if (customer.isError && detail === undefined) {
    const { error } = customer;
    return (
      <>
        <Back />
        <div className={classes.panel}>
          {error instanceof ApiError && (error.status === 404 || error.status === 422) ? (
            <State icon={<InfoIcon size={32} />} trouble={t.customer.notFound} alert isPage />
          ) : (
            <Failed
              error={error}
              what={t.customer.failed}
              onRetry={() => void customer.refetch()}
              isPage
            />
          )}
        </div>
      </>
    );
  }
  return (
    <>
      <Back />
      <Head customer={known} />
      {customer.isError && (
        <div className={classes.stale}>
          <Notice
            tone="warn"
            alert
            action={
              <Button size="compact-sm" onClick={() => void customer.refetch()}>
                {t.tryAgain}
              </Button>
            }
          >
            {t.customer.stale}
          </Notice>
        </div>
      )}
      {detail === undefined ? <Loading /> : <Content detail={detail} />}
    </>
  );
}

const nameOf = (customer: Customer): string =>
  customer.name ?? customer.email ?? t.customers.unnamed;

/** What a list that was loaded before already knows of the customer. */
function inLists(lists: [unknown, Page | undefined][], customerId: string): Customer | undefined {
  for (const [, page] of lists) {
    const found = page?.items.find((customer) => customer.customer_id === customerId);
    if (found) return found;
  }
  return undefined;
}

function Back() {
  const router = useRouter();
  const list = useLocation({ select: (location) => location.state.list });
  return (
    <Link
      to="/"
      search={list ?? {}}
      className={classes.back}
      onClick={(event) => {
        // To the very place in the list, where this page was opened from it in this window.
        const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
        if (list === undefined || !plain || !router.history.canGoBack()) return;
        event.preventDefault();
        router.history.back();
      }}
    >
      <LeftIcon size={16} />
      {t.customer.back}
    </Link>
  );
}

function Head({ customer }: { customer: Customer | undefined }) {
  if (customer === undefined) {
    return (
      <div className={classes.head}>
        <Skeleton circle height={56} width={56} />
        <div>
          <Skeleton height={20} width={180} my={6} />
          <Skeleton height={12} width={220} my={8} />
        </div>
      </div>
    );
  }
  const name = nameOf(customer);
  return (
    <div className={classes.head}>
      <Avatar url={customer.avatar_url} name={name} id={customer.customer_id} size={56} />
      <div className={classes.headText}>
        <h1 className={classes.name}>
          <bdi>{name}</bdi>
        </h1>
        <div className={classes.headBadges}>
          {customer.payment_providers.map((provider) => (
            <ProviderBadge key={provider} provider={provider} />
          ))}
          {customer.used_access_code && <Badge>{t.customers.usedAccessCode}</Badge>}
          <span className={classes.sinceText}>
            {t.customer.since} <Day at={customer.customer_since} />
          </span>
        </div>
        <div className={classes.contact}>
          {customer.email !== null && <Copy text={customer.email} what={t.customer.email} />}
          {customer.grouptizer_id !== null && (
            <Copy text={customer.grouptizer_id} what={t.customer.grouptizerId} mono />
          )}
        </div>
      </div>
    </div>
  );
}

function Loading() {
  return (
    <div className={classes.columns} aria-busy="true">
      <Hidden>{t.loading}</Hidden>
      <div className={classes.primary}>
        {[0, 1].map((n) => (
          <div key={n} className={classes.card}>
            <Skeleton height={18} width="45%" />
            <Skeleton height={12} width="80%" mt={16} />
            <Skeleton height={12} width="65%" mt={12} />
            <Skeleton height={12} width="30%" mt={12} />
          </div>
        ))}
      </div>
      <div className={classes.secondary}>
        <div className={classes.card}>
          <Skeleton height={14} width="50%" />
          <Skeleton height={12} width="85%" mt={14} />
        </div>
      </div>
    </div>
  );
}

/** What has become of a purchase whose change was being followed. */
function outcome(purchase: Purchase): string {
  const name = productName(purchase);
  if (refusedCancel(purchase) !== null) return t.purchase.notCancelled(name);
  if (purchase.access.state === 'failed') return t.purchase.failedRemoval(name);
  if (purchase.cancel_at !== null)
    return t.purchase.doneScheduled(name, formatDate(purchase.cancel_at));
  if (purchase.access.state === 'kept') return t.purchase.doneKept(name);
  return hasEnded(purchase) && purchase.access.state === 'revoked'
    ? t.purchase.doneRemoved(name)
    : t.purchase.doneCancelled(name);
}

/** The purchases after the newest ones, which came with the customer, as far as they were asked for. */
function useFurtherPurchases({ customer, purchases_next_cursor: from }: CustomerDetail) {
  const [wanted, setWanted] = useState(false);
  const more = useInfiniteQuery({
    // Invalidated together with the customer.
    queryKey: [...customerKey(customer.customer_id), 'purchases', from],
    queryFn: ({ pageParam, signal }) => api.purchases(customer.customer_id, pageParam, signal),
    initialPageParam: from ?? '',
    getNextPageParam: (page) => page.next_cursor,
    enabled: wanted && from !== null,
    refetchInterval: (query) =>
      nextLook(query.state.data?.pages.flatMap((page) => page.items) ?? []),
  });
  const pages = more.data?.pages;
  const purchases = useMemo(() => pages?.flatMap((page) => page.items) ?? [], [pages]);
  return {
    purchases,
    hasMore: from !== null && (more.data ? more.hasNextPage : true),
    isFetching: more.isFetching,
    isError: more.isError,
    load: () => {
      if (!wanted) setWanted(true);
      else if (more.data) void more.fetchNextPage();
      else void more.refetch();
    },
  };
}

function Content({ detail }: { detail: CustomerDetail }) {
  const { customer } = detail;
  const further = useFurtherPurchases(detail);
  const purchases = useMemo(
    () => [...detail.purchases, ...further.purchases],
    [detail.purchases, further.purchases],
  );
  const queryClient = useQueryClient();
  const [cancelling, setCancelling] = useState<string | null>(null);
  const [said, setSaid] = useState('');
  const followed = useRef(new Set<string>());
  const cards = useRef(new Map<string, HTMLElement>());

  /** Takes over what a change was answered with, and says what became of it. */
  const take = useCallback(
    (purchase: Purchase, changed: boolean) => {
      const key = customerKey(customer.customer_id);
      queryClient.setQueryData<CustomerDetail>(
        key,
        (now) =>
          now && {
            ...now,
            purchases: now.purchases.map((one) =>
              one.purchase_id === purchase.purchase_id ? purchase : one,
            ),
          },
      );
      // Other purchases of the same person may show it too.
      void queryClient.invalidateQueries({ queryKey: key });
      const name = productName(purchase);
      if (isUnsettled(purchase)) {
        followed.current.add(purchase.purchase_id);
        setSaid(t.purchase.pendingCancelled(name));
      } else {
        setSaid(changed ? outcome(purchase) : t.purchase.doneUnchanged(name));
      }
    },
    [queryClient, customer.customer_id],
  );

  useEffect(() => {
    for (const purchase of purchases) {
      if (!followed.current.has(purchase.purchase_id) || isUnsettled(purchase)) continue;
      followed.current.delete(purchase.purchase_id);
      setSaid(outcome(purchase));
    }
  }, [purchases]);

  const cancelled = purchases.find((purchase) => purchase.purchase_id === cancelling);
  const close = () => {
    const card = cancelling === null ? undefined : cards.current.get(cancelling);
    setCancelling(null);
    // Back to where the window was opened from; where that button is gone, to its purchase.
    window.setTimeout(() => {
      const button = card?.querySelector<HTMLElement>('[data-cancel]');
      (button ?? card?.querySelector<HTMLElement>('h3'))?.focus();
    });
  };

  return (
    <div className={classes.columns}>
      <Announcer>{said}</Announcer>
      <div className={classes.primary}>
        <section aria-labelledby="purchases">
          <h2 id="purchases" className={classes.heading}>
            {t.customer.purchases}
          </h2>
          {purchases.length === 0 && <p className={classes.nothing}>{t.customer.noPurchases}</p>}
          <div className={classes.cards}>
            {purchases.map((purchase) => (
              <PurchaseCard
                key={purchase.purchase_id}
                ref={(element) => {
                  if (element) cards.current.set(purchase.purchase_id, element);
                  return () => void cards.current.delete(purchase.purchase_id);
                }}
                customerId={customer.customer_id}
                purchase={purchase}
                purchases={purchases}
                onCancel={() => setCancelling(purchase.purchase_id)}
                onChanged={take}
              />
            ))}
          </div>
          {(further.hasMore || further.isError) && (
            <div className={classes.more}>
              {further.isError && (
                <Notice tone="bad" alert>
                  {t.customer.purchasesFailed}
                </Notice>
              )}
              <Button
                variant="default"
                onClick={() => !further.isFetching && further.load()}
                aria-disabled={further.isFetching || undefined}
                leftSection={further.isFetching && <Spinner />}
              >
                {further.isError ? t.tryAgain : t.customer.morePurchases}
              </Button>
            </div>
          )}
        </section>
        <Transactions
          key={customer.customer_id}
          customerId={customer.customer_id}
          first={detail.transactions}
        />
      </div>
      <div className={classes.secondary}>
        <PaymentMethods methods={detail.payment_methods} />
      </div>
      <CancelModal
        customerId={customer.customer_id}
        purchase={cancelled}
        purchases={purchases}
        onClose={close}
        onDone={(change) => {
          take(change.purchase, change.changed);
          close();
        }}
        onOutdated={() =>
          void queryClient.invalidateQueries({ queryKey: customerKey(customer.customer_id) })
        }
      />
    </div>
  );
}
