import { Button, Checkbox, NativeSelect, Popover, Radio, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, type SubmitEvent, useId, useState } from 'react';

import type { PaymentProvider, Product } from '../api/client';
import { productsQuery } from '../api/queries';
import { t } from '../texts';
import { DownIcon } from '../ui/icons';
import { Notice } from '../ui/ui';
import classes from './customers.module.css';
import { type Change, type CustomersSearch, isFiltered, NO_FILTERS } from './search';

/** With more products than this, their list has a search of its own. */
const MANY_PRODUCTS = 8;

export default function Filters({
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

interface Choice {
  name: string;
  ids: string[];
}

/** One choice a name: in live and in test mode a product has two ids. */
function grouped(products: Product[]): Choice[] {
  const choices = new Map<string, Choice>();
  for (const { name, product_id: id } of products) {
    const choice = choices.get(name);
    if (choice) choice.ids.push(id);
    else choices.set(name, { name, ids: [id] });
  }
  return [...choices.values()];
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
  const choices = grouped(products.data?.items ?? []);
  const isChosen = (choice: Choice) => choice.ids.some((id) => chosen.includes(id));
  const known = new Set(choices.flatMap((choice) => choice.ids));
  const names = [
    ...choices.filter(isChosen).map((choice) => choice.name),
    ...chosen.filter((id) => !known.has(id)),
  ];
  const toggle = (choice: Choice) => {
    const others = chosen.filter((id) => !choice.ids.includes(id));
    onChange(isChosen(choice) ? others : [...others, ...choice.ids]);
  };
  const wanted = text.trim().toLocaleLowerCase();
  const shown = choices.filter((one) => one.name.toLocaleLowerCase().includes(wanted));
  return (
    <Filter name={t.customers.product} values={names} onClear={() => onChange([])}>
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
          {products.isSuccess && choices.length === 0 && (
            <p className={classes.muted}>{t.customers.noProducts}</p>
          )}
          {choices.length > MANY_PRODUCTS && (
            <TextInput
              aria-label={t.customers.findProduct}
              placeholder={t.customers.findProduct}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
            />
          )}
          {choices.length > 0 && shown.length === 0 && (
            <p className={classes.muted}>{t.customers.noSuchProduct}</p>
          )}
          {shown.length > 0 && (
            <div className={classes.options} role="group" aria-label={t.customers.product}>
              {shown.map((choice) => (
                <Checkbox
                  key={choice.name}
                  label={choice.name}
                  checked={isChosen(choice)}
                  onChange={() => toggle(choice)}
                />
              ))}
            </div>
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
