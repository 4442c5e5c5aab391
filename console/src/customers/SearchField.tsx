import { ActionIcon, TextInput } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';

import { t } from '../texts';
import { CloseIcon, SearchIcon } from '../ui/icons';
import classes from './customers.module.css';

/** Short enough to feel immediate, long enough not to ask at every key. */
const DEBOUNCE_MS = 200;

/** Searches as one types; `/` anywhere on the page comes here. */
export function SearchField({
  value,
  onSearch,
}: {
  /** The search that is shown now. */
  value: string;
  onSearch: (text: string) => void;
}) {
  const [typed, setTyped] = useState(value);
  const input = useRef<HTMLInputElement>(null);
  const timer = useRef(0);
  const sent = useRef(value);

  // The address changed by itself (back, forward, a cleared filter): show what it says.
  useEffect(() => {
    if (value === sent.current) return;
    sent.current = value;
    window.clearTimeout(timer.current);
    setTyped(value);
  }, [value]);

  useEffect(() => () => window.clearTimeout(timer.current), []);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const at = event.target instanceof Element ? event.target : null;
      const writes = at?.closest('input, textarea, select, [contenteditable], [role="dialog"]');
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || writes) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);

  const send = (text: string) => {
    window.clearTimeout(timer.current);
    const wanted = text.trim();
    if (wanted === sent.current) return;
    sent.current = wanted;
    onSearch(wanted);
  };

  const type = (text: string) => {
    setTyped(text);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => send(text), DEBOUNCE_MS);
  };

  const clear = () => {
    setTyped('');
    send('');
    input.current?.focus();
  };

  return (
    <TextInput
      ref={input}
      className={classes.search}
      type="search"
      autoComplete="off"
      spellCheck={false}
      maxLength={200}
      aria-label={t.customers.search}
      aria-keyshortcuts="/"
      placeholder={t.customers.searchPlaceholder}
      leftSection={<SearchIcon />}
      rightSection={
        typed !== '' ? (
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t.customers.clearSearch}
            onClick={clear}
          >
            <CloseIcon size={16} />
          </ActionIcon>
        ) : (
          <kbd className={classes.slash} aria-hidden="true" title={t.customers.searchHint}>
            {t.customers.searchShortcut}
          </kbd>
        )
      }
      value={typed}
      onChange={(event) => type(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') send(typed);
        if (event.key === 'Escape' && typed !== '') {
          event.preventDefault();
          clear();
        }
      }}
    />
  );
}
