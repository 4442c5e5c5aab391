import { Button } from '@mantine/core';
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  useNavigate,
} from '@tanstack/react-router';

import { customerQuery, customersQuery, productsQuery, queryClient } from './api/queries';
import { CustomersPage } from './customers/CustomersPage';
import {
  type CustomersSearch,
  customersSearch,
  parseSearch,
  queryOf,
  stringifySearch,
} from './customers/search';
import { Shell } from './Shell';
import { t } from './texts';
import { InfoIcon, WarnIcon } from './ui/icons';
import { State } from './ui/ui';

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
  interface HistoryState {
    /** Cursors of the pages before this one of the list; the first page has none. */
    trail?: (string | null)[];
    /** The list a customer was opened from. */
    list?: CustomersSearch;
  }
}

const rootRoute = createRootRoute({ component: Shell, notFoundComponent: UnknownPage });

export const customersRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/',
  validateSearch: customersSearch,
  component: CustomersPage,
});

const customerPage = () => import('./customer/CustomerPage');

export const customerRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/customers/$customerId',
  component: lazyRouteComponent(customerPage, 'CustomerPage'),
});

/** Begins to fetch what the page of an address needs. */
export function prefetch({ pathname, search }: Location) {
  const customerId = /^\/customers\/([^/]+)$/.exec(pathname)?.[1];
  if (pathname === '/') {
    const query = queryOf(customersSearch(parseSearch(search)));
    void queryClient.prefetchQuery(customersQuery(query));
    void queryClient.prefetchQuery(productsQuery);
  } else if (customerId !== undefined) {
    void customerPage();
    void queryClient.prefetchQuery(customerQuery(decodeURIComponent(customerId)));
  }
}

/** A router that starts at the window's present address. */
export function makeRouter() {
  return createRouter({
    routeTree: rootRoute.addChildren([customersRoute, customerRoute]),
    parseSearch,
    stringifySearch,
    scrollRestoration: true,
    defaultPreload: 'intent',
    defaultErrorComponent: Crashed,
  });
}

function UnknownPage() {
  const navigate = useNavigate();
  return (
    <State icon={<InfoIcon size={32} />} trouble={t.unknownPage} isPage>
      <Button onClick={() => void navigate({ to: '/' })}>{t.unknownPage.action}</Button>
    </State>
  );
}

function Crashed() {
  return (
    <State icon={<WarnIcon size={32} />} trouble={t.crashed} alert isPage>
      <Button onClick={() => window.location.reload()}>{t.crashed.reload}</Button>
    </State>
  );
}
