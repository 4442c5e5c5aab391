import { Button } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';

import { api, type Transaction, type TransactionPage } from '../api/client';
import { formatMoney } from '../format';
import { t } from '../texts';
import { Badge, Day, Notice, Spinner, type Tone } from '../ui/ui';
import classes from './customer.module.css';

/** Money as it moved, newest first; every amount in its own currency and none added to another. */
export function Transactions({
  customerId,
  first,
}: {
  customerId: string;
  /** The page that came with the customer. */
  first: TransactionPage;
}) {
  const from = first.next_cursor;
  const more = useInfiniteQuery({
    queryKey: ['transactions', customerId, from],
    queryFn: ({ pageParam, signal }) => api.transactions(customerId, pageParam, signal),
    initialPageParam: from ?? '',
    getNextPageParam: (page) => page.next_cursor,
    enabled: false,
  });
  const pages = more.data?.pages ?? [];
  const rows = [...first.items, ...pages.flatMap((page) => page.items)];
  const hasMore = more.data ? more.hasNextPage : from !== null;
  const load = () => void (more.data ? more.fetchNextPage() : more.refetch());

  return (
    <section aria-labelledby="transactions">
      <h2 id="transactions" className={classes.heading}>
        {t.customer.transactions}
      </h2>
      <div className={classes.panel}>
        {rows.length === 0 ? (
          <p className={classes.nothing}>{t.customer.noTransactions}</p>
        ) : (
          <ul className={classes.transactions}>
            {rows.map((row) => (
              <Row key={row.transaction_id} row={row} />
            ))}
          </ul>
        )}
        {(hasMore || more.isError) && (
          <div className={classes.more}>
            {more.isError && (
              <Notice tone="bad" alert>
                {t.customer.transactionsFailed}
              </Notice>
            )}
            <Button
              variant="default"
              onClick={() => !more.isFetching && load()}
              aria-disabled={more.isFetching || undefined}
              leftSection={more.isFetching && <Spinner />}
            >
              {more.isError ? t.tryAgain : t.customer.moreTransactions}
            </Button>
          </div>
        )}
      </div>
    </section>
  );
}

const statusTone: Record<string, Tone> = {
  failed: 'bad',
  lost: 'bad',
  won: 'good',
  pending: 'info',
  canceled: 'neutral',
  needs_response: 'warn',
  under_review: 'warn',
  warning_needs_response: 'warn',
  warning_under_review: 'warn',
  requires_action: 'warn',
};

/** Statuses that only say that all is well. */
const QUIET = new Set(['succeeded', 'applied', 'issued', 'fee']);

/** What it was for; without the words that the badge beside it says already. */
function Description({ row }: { row: Transaction }) {
  if (row.status === 'fee') return null;
  const said = `${t.transactionStatus(row.status)}: `;
  const text = row.description?.startsWith(said)
    ? row.description.slice(said.length)
    : row.description;
  return text && <span className={classes.txText}>{text}</span>;
}

function Row({ row }: { row: Transaction }) {
  return (
    <li className={classes.transaction}>
      <div className={classes.txWhat}>
        <span className={classes.txType}>
          {row.status === 'fee' ? t.disputeFee : t.transactionType[row.type]}
        </span>
        {!QUIET.has(row.status) && (
          <Badge tone={statusTone[row.status] ?? 'neutral'}>
            {t.transactionStatus(row.status)}
          </Badge>
        )}
        {row.refunded !== 'no' && <Badge tone="warn">{t.refunded[row.refunded]}</Badge>}
        <Description row={row} />
      </div>
      <div
        className={classes.txAmount}
        data-negative={row.amount < 0 || undefined}
        data-void={row.status === 'failed' || undefined}
      >
        {formatMoney(row.amount, row.currency)}
      </div>
      <div className={classes.txMeta}>
        <Day at={row.created_at} />
        {row.product !== null && <span>{row.product}</span>}
        {row.provider_url === null ? (
          <span className={classes.mono} title={row.provider_id}>
            {row.transaction_id}
          </span>
        ) : (
          <a
            className={classes.mono}
            href={row.provider_url}
            target="_blank"
            rel="noreferrer"
            title={t.inStripe(row.provider_id)}
          >
            {row.transaction_id}
          </a>
        )}
        {row.related_transaction_id !== null && (
          <span>
            {t.relatedTo} <span className={classes.mono}>{row.related_transaction_id}</span>
          </span>
        )}
      </div>
    </li>
  );
}
