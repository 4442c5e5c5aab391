/** The first script: logs in, and fetches everything else meanwhile. */

import { login } from './auth/login';

const app = () => import('./app');

// On the way out to the issuer it would be fetched for nothing.
if (login.isReturning) void app();

login.start().then(
  // Only now: the router reads the address, which the login has just put back.
  async () => (await app()).showApp(),
  async (error: unknown) => (await app()).showLoginFailed(error),
);
