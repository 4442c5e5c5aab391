/** The first script: logs in. Everything else is on its way meanwhile: vite.config.ts. */

import { login } from './auth/login';
import { pause } from './pause';

// Mantine's own note of what was chosen, before it can read it itself.
const scheme = localStorage.getItem('mantine-color-scheme-value');
if (scheme === 'light' || scheme === 'dark') {
  document.documentElement.dataset['mantineColorScheme'] = scheme;
}

/**
 * The rest, evaluated in two parts: all at once, it would keep a slow phone from anything else for
 * a fifth of a second.
 */
async function app() {
  await import('react-dom/client');
  await pause();
  const parts = await import('./app');
  await pause();
  return parts;
}

login.start().then(
  // Only now: the router reads the address, which the login has just put back.
  async () => (await app()).showApp(),
  async (error: unknown) => (await app()).showLoginFailed(error),
);
