import { ActionIcon, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';

import { login } from './auth/login';
import classes from './Shell.module.css';
import { t } from './texts';
import { LeaveIcon, MoonIcon, PeopleIcon, SunIcon } from './ui/icons';

/** The frame of every page. */
export function Shell() {
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  const shown = useRef(pathname);
  // A new page begins at its start for the keyboard too; a page may then choose a better place.
  useEffect(() => {
    if (shown.current === pathname) return;
    shown.current = pathname;
    if (!main.current?.contains(document.activeElement))
      main.current?.focus({ preventScroll: true });
  }, [pathname]);

  return (
    <>
      <a className={classes.skip} href="#content" onClick={() => main.current?.focus()}>
        {t.skipToContent}
      </a>
      <header className={classes.header}>
        <div className={classes.bar}>
          <Link to="/" className={classes.brand}>
            <span className={classes.mark}>
              <PeopleIcon size={16} />
            </span>
            {t.appName}
          </Link>
          {login.store !== null && (
            <span className={classes.store} title={t.store(login.store)}>
              {login.store}
            </span>
          )}
          <div className={classes.tools}>
            <SchemeButton />
            <ActionIcon
              variant="subtle"
              color="gray"
              size={36}
              aria-label={t.logOut}
              title={t.logOut}
              onClick={() => void login.out()}
            >
              <LeaveIcon />
            </ActionIcon>
          </div>
        </div>
      </header>
      <main id="content" ref={main} tabIndex={-1} className={classes.main}>
        <Outlet />
      </main>
    </>
  );
}

function SchemeButton() {
  const scheme = useComputedColorScheme('light');
  // Without this Mantine would write a style element to hold transitions back.
  const { setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  const label = scheme === 'dark' ? t.scheme.toLight : t.scheme.toDark;
  return (
    <ActionIcon
      variant="subtle"
      color="gray"
      size={36}
      aria-label={label}
      title={label}
      onClick={() => setColorScheme(scheme === 'dark' ? 'light' : 'dark')}
    >
      {scheme === 'dark' ? <SunIcon /> : <MoonIcon />}
    </ActionIcon>
  );
}
