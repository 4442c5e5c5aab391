/** The first script: logs in. Everything else is on its way meanwhile: vite.config.ts. */

import { login } from './auth/login';

// Mantine's own note of what was chosen, before it can read it itself.
const scheme = localStorage.getItem('mantine-color-scheme-value');
if (scheme === 'light' || scheme === 'dark') {
  document.documentElement.dataset['mantineColorScheme'] = scheme;
}

const app = () => import('./app');

login.start().then(
  // Only now: the router reads the address, which the login has just put back.
  async () => (await app()).showApp(),
  async (error: unknown) => (await app()).showLoginFailed(error),
);
