import { Button, NativeSelect, Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useLocation, useNavigate } from '@tanstack/react-router';
import {
  lazy,
  memo,
  type RefObject,
  Suspense,
  useDeferredValue,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
} from 'react';

import type { Customer, CustomerPage } from '../api/client';
import { customersQuery } from '../api/queries';
import { customersRoute } from '../router';
import { t } from '../texts';
import { DownIcon, InfoIcon, LeftIcon, PeopleIcon, RightIcon, SearchIcon } from '../ui/icons';
import { Announcer, Avatar, Badge, Day, Failed, Hidden, ProviderBadge, State } from '../ui/ui';
import classes from './customers.module.css';
import {
  type Change,
  changed,
  type CustomersSearch,
  DEFAULT_LIMIT,
  isFiltered,
  looksLikeTransaction,
  NO_FILTERS,
  PAGE_SIZES,
  queryOf,
} from './search';
import { SearchField } from './SearchField';

// Drawn after the rows, whose first sight would have to wait for all of their parts.
const filters = import('./Filters');
const Filters = lazy(() => filters);

type Ask = (change: Change, replace?: boolean) => void;

/** The row to go back to after a visit to its customer. */
let lastOpened: string | null = null;

const NO_TRAIL: (string | null)[] = [];

export function CustomersPage() {
  const search = customersRoute.useSearch();
  const navigate = useNavigate({ from: customersRoute.fullPath });
  const heading = useRef<HTMLHeadingElement>(null);

  useEffect(() => {
    document.title = t.appName;
  }, []);

  /** Another question: from its first page on. */
  const ask: Ask = (change, replace = false) =>
    void navigate({
      search: (now) => changed(now, { cursor: undefined, ...change }),
      state: { trail: [] },
      replace,
      resetScroll: false,
    });

  return (
    <>
      <h1 className={classes.title} ref={heading} tabIndex={-1}>
        {t.customers.title}
      </h1>
      <div className={classes.controls} role="search">
        <SearchField
          value={search.search ?? ''}
          onSearch={(text) => ask({ search: text || undefined }, search.search !== undefined)}
        />
        <Suspense fallback={<FilterNames />}>
          <Filters search={search} onChange={ask} />
        </Suspense>
      </div>
      <Results search={search} ask={ask} heading={heading} />
    </>
  );
}

/** What was found, and the way to its other pages. */
function Results({
  search,
  ask,
  heading,
}: {
  search: CustomersSearch;
  ask: Ask;
  heading: RefObject<HTMLHeadingElement | null>;
}) {
  const navigate = useNavigate({ from: customersRoute.fullPath });
  const trail = useLocation({ select: (location) => location.state.trail }) ?? NO_TRAIL;
  const turned = useRef(false);

  const customers = useQuery(customersQuery(queryOf(search)));
  const { data, isPlaceholderData } = customers;
  const found = useMemo(() => ({ page: data, isPlaceholderData }), [data, isPlaceholderData]);
  // New rows are drawn in small pieces, between which the browser can answer.
  const shown = useDeferredValue(found);
  const { page } = shown;
  const isOld = shown !== found || isPlaceholderData;

  // Once the rows of the page that was turned to are there: its beginning, also for the keyboard.
  useLayoutEffect(() => {
    if (!turned.current || isOld) return;
    turned.current = false;
    window.scrollTo({ top: 0 });
    heading.current?.focus({ preventScroll: true });
  }, [isOld, page, heading]);

  const turn = (cursor: string | null, newTrail: (string | null)[]) => {
    turned.current = true;
    void navigate({
      search: (now) => changed(now, { cursor: cursor ?? undefined }),
      state: { trail: newTrail },
      resetScroll: false,
    });
  };

  return (
    <>
      <Announcer>
        {customers.isFetching && isOld
          ? t.customers.updating
          : page !== undefined && t.customers.shown(page.items.length)}
      </Announcer>
      <div className={classes.panel} aria-busy={customers.isPending || isOld}>
        {customers.isError && !(page && !isOld) ? (
          <Failed
            error={customers.error}
            what={t.customers.failed}
            onRetry={() => void customers.refetch()}
          >
            {customers.error.message === 'invalid_cursor' && (
              <Button variant="default" onClick={() => turn(null, [])}>
                {t.customers.first}
              </Button>
            )}
          </Failed>
        ) : page === undefined ? (
          <Rows rows={null} search={search} trail={trail} />
        ) : page.items.length > 0 ? (
          <div className={classes.rows} data-old={isOld || undefined}>
            <Rows rows={page.items} search={search} trail={trail} />
          </div>
        ) : (
          <NoRows search={search} page={page} ask={ask} turn={turn} trail={trail} />
        )}
      </div>
      {page !== undefined && page.items.length > 0 && (
        <nav className={classes.pages} aria-label={t.customers.pages}>
          <span className={classes.pageInfo}>
            {t.customers.page(trail.length + 1, page.items.length)}
          </span>
          <NativeSelect
            aria-label={t.customers.perPage}
            className={classes.perPage}
            value={search.limit ?? DEFAULT_LIMIT}
            onChange={(event) => ask({ limit: Number(event.currentTarget.value) })}
            data={PAGE_SIZES.map((n) => ({
              value: String(n),
              label: t.customers.perPageOption(n),
            }))}
            rightSection={<DownIcon size={15} />}
          />
          <div className={classes.turn}>
            <Button
              variant="default"
              leftSection={<LeftIcon size={16} />}
              disabled={search.cursor === undefined || isOld}
              onClick={() => turn(trail.at(-1) ?? null, trail.slice(0, -1))}
            >
              {search.cursor !== undefined && trail.length === 0
                ? t.customers.first
                : t.customers.previous}
            </Button>
            <Button
              variant="default"
              rightSection={<RightIcon size={16} />}
              disabled={page.next_cursor === null || isOld}
              onClick={() => turn(page.next_cursor, [...trail, search.cursor ?? null])}
            >
              {t.customers.next}
            </Button>
          </div>
        </nav>
      )}
    </>
  );
}

/** Holds the place of the filters. */
function FilterNames() {
  const { product, provider, accessCode, transaction, sortBy } = t.customers;
  return (
    <div className={classes.filters} inert>
      {[product, provider, accessCode, transaction, sortBy.newest].map((name) => (
        <Button
          key={name}
          variant="default"
          size="sm"
          className={classes.filter}
          rightSection={<DownIcon size={15} />}
        >
          {name}
        </Button>
      ))}
    </div>
  );
}

/** Explicit roles: laid out as cards, a table would no longer be one to screen readers. */
const Rows = memo(function Rows({
  rows,
  search,
  trail,
}: {
  /** `null` while they are being loaded. */
  rows: Customer[] | null;
  search: CustomersSearch;
  trail: (string | null)[];
}) {
  return (
    <table className={classes.table} role="table" aria-label={t.customers.title}>
      <thead role="rowgroup">
        <tr role="row">
          <th role="columnheader" scope="col">
            {t.customers.columns.customer}
          </th>
          <th role="columnheader" scope="col" className={classes.boughtWith}>
            {t.customers.columns.boughtWith}
          </th>
          <th role="columnheader" scope="col" className={classes.since}>
            {t.customers.columns.since}
          </th>
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows === null
          ? Array.from({ length: 8 }, (_, n) => <SkeletonRow key={n} />)
          : rows.map((customer) => (
              <Row key={customer.customer_id} customer={customer} search={search} trail={trail} />
            ))}
      </tbody>
    </table>
  );
});

function Row({
  customer,
  search,
  trail,
}: {
  customer: Customer;
  search: CustomersSearch;
  trail: (string | null)[];
}) {
  const link = useRef<HTMLAnchorElement>(null);
  const id = customer.customer_id;
  useEffect(() => {
    if (lastOpened !== id) return;
    lastOpened = null;
    link.current?.focus({ preventScroll: true });
  }, [id]);
  const name = customer.name ?? customer.email ?? t.customers.unnamed;
  return (
    <tr role="row" className={classes.row}>
      <td role="cell" className={classes.who}>
        <Avatar url={customer.avatar_url} name={name} id={id} size={40} />
        <div className={classes.names}>
          <Link
            ref={link}
            to="/customers/$customerId"
            params={{ customerId: id }}
            state={{ list: search, trail }}
            className={classes.name}
            onClick={() => (lastOpened = id)}
          >
            <bdi>{name}</bdi>
          </Link>
          {customer.name !== null && customer.email !== null && (
            <div className={classes.email}>{customer.email}</div>
          )}
        </div>
      </td>
      <td role="cell" className={classes.badges}>
        <div>
          {customer.payment_providers.map((provider) => (
            <ProviderBadge key={provider} provider={provider} />
          ))}
          {customer.used_access_code && <Badge>{t.customers.usedAccessCode}</Badge>}
        </div>
      </td>
      <td role="cell" className={classes.since}>
        <span className={classes.sinceLabel}>{t.customers.since('')}</span>
        <Day at={customer.customer_since} />
      </td>
    </tr>
  );
}

function SkeletonRow() {
  return (
    <tr role="row" className={classes.row}>
      <td role="cell" className={classes.who}>
        <Hidden>{t.loading}</Hidden>
        <Skeleton circle height={40} width={40} />
        <div className={classes.names}>
          <Skeleton height={12} width={150} my={4} />
          <Skeleton height={10} width={190} my={8} />
        </div>
      </td>
      <td role="cell" className={classes.badges}>
        <div>
          <Skeleton height={20} width={58} radius="xl" />
        </div>
      </td>
      <td role="cell" className={classes.since}>
        <Skeleton height={12} width={84} my={4} />
      </td>
    </tr>
  );
}

function NoRows({
  search,
  page,
  trail,
  ask,
  turn,
}: {
  search: CustomersSearch;
  page: CustomerPage;
  trail: (string | null)[];
  ask: Ask;
  turn: (cursor: string | null, trail: (string | null)[]) => void;
}) {
  if (page.next_cursor !== null) {
    const { next_cursor: next } = page;
    return (
      <State icon={<SearchIcon size={32} />} trouble={t.customers.notYet}>
        <Button onClick={() => turn(next, [...trail, search.cursor ?? null])}>
          {t.customers.notYet.action}
        </Button>
      </State>
    );
  }
  if (search.cursor !== undefined) {
    return (
      <State icon={<InfoIcon size={32} />} trouble={t.customers.endOfList}>
        <Button onClick={() => turn(null, [])}>{t.customers.first}</Button>
      </State>
    );
  }
  if (!isFiltered(search)) {
    return <State icon={<PeopleIcon size={36} />} trouble={t.customers.empty} />;
  }
  const text = search.search?.trim() ?? '';
  return (
    <State icon={<SearchIcon size={32} />} trouble={t.customers.noMatch}>
      {looksLikeTransaction(text) && (
        <Button onClick={() => ask({ ...NO_FILTERS, transaction_id: text.toUpperCase() })}>
          {t.customers.noMatch.asTransaction(text.toUpperCase())}
        </Button>
      )}
      <Button variant="default" onClick={() => ask(NO_FILTERS)}>
        {t.customers.noMatch.action}
      </Button>
    </State>
  );
}
