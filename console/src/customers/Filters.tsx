import { Button, Checkbox, NativeSelect, Popover, Radio, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, type SubmitEvent, useId, useState } from 'react';

import type { PaymentProvider } from '../api/client';
import { productsQuery } from '../api/queries';
import { t } from '../texts';
import { DownIcon } from '../ui/icons';
import { Notice } from '../ui/ui';
import classes from './customers.module.css';
import { type Change, type CustomersSearch, isFiltered, NO_FILTERS } from './search';

/** With more products than this, their list has a search of its own. */
const MANY_PRODUCTS = 8;

export function Filters({
  search,
  onChange,
}: {
  search: CustomersSearch;
  onChange: (change: Change) => void;
}) {
  return (
    <div className={classes.filters}>
      <ProductFilter
        chosen={search.product_id ?? []}
        onChange={(ids) => onChange({ product_id: ids.length > 0 ? ids : undefined })}
      />
      <ProviderFilter
        chosen={search.payment_provider ?? []}
        onChange={(providers) =>
          onChange({ payment_provider: providers.length > 0 ? providers : undefined })
        }
      />
      <AccessCodeFilter
        used={search.used_access_code}
        onChange={(used) => onChange({ used_access_code: used })}
      />
      <TransactionFilter
        id={search.transaction_id}
        onChange={(id) => onChange({ transaction_id: id })}
      />
      {isFiltered(search) && (
        <Button variant="subtle" size="sm" onClick={() => onChange(NO_FILTERS)}>
          {t.customers.clearAll}
        </Button>
      )}
      <NativeSelect
        className={classes.sort}
        aria-label={t.customers.sort}
        value={search.sort ?? 'newest'}
        onChange={(event) =>
          onChange({ sort: event.currentTarget.value === 'oldest' ? 'oldest' : undefined })
        }
        data={[
          { value: 'newest', label: t.customers.sortBy.newest },
          { value: 'oldest', label: t.customers.sortBy.oldest },
        ]}
        rightSection={<DownIcon size={15} />}
      />
    </div>
  );
}

/** A button that says what is chosen, and opens the choice. */
function Filter({
  name,
  values,
  onClear,
  children,
}: {
  name: string;
  /** The chosen values in words; empty where the filter is off. */
  values: string[];
  onClear: () => void;
  children: (close: () => void) => ReactNode;
}) {
  const [opened, setOpened] = useState(false);
  const [first, ...more] = values;
  const summary = first && (more.length > 0 ? t.customers.someOf(first, more.length) : first);
  const close = () => setOpened(false);
  return (
    <Popover
      opened={opened}
      onChange={setOpened}
      position="bottom-start"
      width={280}
      shadow="md"
      trapFocus
      returnFocus
      transitionProps={{ duration: 120 }}
    >
      <Popover.Target>
        <Button
          variant="default"
          size="sm"
          className={classes.filter}
          data-on={summary !== undefined || undefined}
          rightSection={<DownIcon size={15} />}
          onClick={() => setOpened((now) => !now)}
        >
          {summary === undefined ? name : t.customers.filterIsOn(name, summary)}
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label={name}>
        <div className={classes.choice}>
          {children(close)}
          {summary !== undefined && (
            <Button
              variant="subtle"
              size="compact-sm"
              className={classes.clear}
              onClick={() => {
                onClear();
                close();
              }}
            >
              {t.customers.clear}
            </Button>
          )}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}

function ProductFilter({
  chosen,
  onChange,
}: {
  chosen: string[];
  onChange: (ids: string[]) => void;
}) {
  const products = useQuery(productsQuery);
  const [text, setText] = useState('');
  const items = products.data?.items ?? [];
  const nameOf = (id: string) => items.find((one) => one.product_id === id)?.name ?? id;
  const wanted = text.trim().toLocaleLowerCase();
  const shown = items.filter((one) => one.name.toLocaleLowerCase().includes(wanted));
  return (
    <Filter name={t.customers.product} values={chosen.map(nameOf)} onClear={() => onChange([])}>
      {() => (
        <>
          {products.isError && (
            <Notice
              tone="bad"
              action={
                <Button size="compact-sm" onClick={() => void products.refetch()}>
                  {t.tryAgain}
                </Button>
              }
            >
              {t.customers.productsFailed}
            </Notice>
          )}
          {products.isPending && <p className={classes.muted}>{t.loading}</p>}
          {products.isSuccess && items.length === 0 && (
            <p className={classes.muted}>{t.customers.noProducts}</p>
          )}
          {items.length > MANY_PRODUCTS && (
            <TextInput
              aria-label={t.customers.findProduct}
              placeholder={t.customers.findProduct}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
            />
          )}
          {items.length > 0 && shown.length === 0 && (
            <p className={classes.muted}>{t.customers.noSuchProduct}</p>
          )}
          {shown.length > 0 && (
            <Checkbox.Group value={chosen} onChange={onChange} aria-label={t.customers.product}>
              <div className={classes.options}>
                {shown.map((one) => (
                  <Checkbox key={one.product_id} value={one.product_id} label={one.name} />
                ))}
              </div>
            </Checkbox.Group>
          )}
        </>
      )}
    </Filter>
  );
}

function ProviderFilter({
  chosen,
  onChange,
}: {
  chosen: PaymentProvider[];
  onChange: (providers: PaymentProvider[]) => void;
}) {
  const providers = Object.entries(t.provider) as [PaymentProvider, string][];
  return (
    <Filter
      name={t.customers.provider}
      values={chosen.map((one) => t.provider[one])}
      onClear={() => onChange([])}
    >
      {() => (
        <Checkbox.Group
          value={chosen}
          onChange={(values) => onChange(values as PaymentProvider[])}
          aria-label={t.customers.provider}
        >
          <div className={classes.options}>
            {providers.map(([value, label]) => (
              <Checkbox key={value} value={value} label={label} />
            ))}
          </div>
        </Checkbox.Group>
      )}
    </Filter>
  );
}

function AccessCodeFilter({
  used,
  onChange,
}: {
  used: boolean | undefined;
  onChange: (used: boolean | undefined) => void;
}) {
  const { any, true: yes, false: no } = t.customers.usedCode;
  return (
    <Filter
      name={t.customers.accessCode}
      values={used === undefined ? [] : [used ? yes : no]}
      onClear={() => onChange(undefined)}
    >
      {() => (
        <Radio.Group
          aria-label={t.customers.accessCode}
          value={used === undefined ? 'any' : String(used)}
          onChange={(value) => onChange(value === 'any' ? undefined : value === 'true')}
        >
          <div className={classes.options}>
            <Radio value="any" label={any} />
            <Radio value="true" label={yes} />
            <Radio value="false" label={no} />
          </div>
        </Radio.Group>
      )}
    </Filter>
  );
}

function TransactionFilter({
  id,
  onChange,
}: {
  id: string | undefined;
  onChange: (id: string | undefined) => void;
}) {
  return (
    <Filter
      name={t.customers.transaction}
      values={id === undefined ? [] : [id]}
      onClear={() => onChange(undefined)}
    >
      {(close) => (
        <TransactionForm
          id={id ?? ''}
          onFind={(wanted) => {
            onChange(wanted || undefined);
            close();
          }}
        />
      )}
    </Filter>
  );
}

function TransactionForm({ id, onFind }: { id: string; onFind: (id: string) => void }) {
  const [text, setText] = useState(id);
  const field = useId();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onFind(text.trim().toUpperCase());
  };
  return (
    <form className={classes.find} onSubmit={submit}>
      <TextInput
        id={field}
        label={t.customers.transactionLabel}
        description={t.customers.transactionHint}
        autoComplete="off"
        autoCapitalize="characters"
        spellCheck={false}
        maxLength={64}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <Button type="submit" size="sm">
        {t.customers.apply}
      </Button>
    </form>
  );
}
