/**
 * Login by the OpenID Connect authorization code flow with PKCE (RFC 6749, 7636, 9207).
 *
 * Tokens live in this module's memory and nowhere else: after a reload the issuer, which remembers
 * its user, sends a new code. Session storage holds only what has to survive the way to the issuer
 * and back: the state, the verifier of that one login, the issuer's public addresses, and the
 * address to come back to.
 */

/** `/config.json`, written by the deployment. */
interface Config {
  issuer: string;
  client_id: string;
  /** Space-separated; `openid` where it is not given. */
  scope?: string;
  /** Claim that names the store, shown in the header. */
  store_claim?: string;
}

interface Provider {
  authorization_endpoint: string;
  token_endpoint: string;
  end_session_endpoint?: string;
}

interface Session {
  token: string;
  refreshToken: string | null;
  /** Epoch milliseconds. */
  expiresAt: number;
  startedAt: number;
}

interface Underway {
  state: string;
  verifier: string;
  returnTo: string;
  /** The router's notes on this entry of the browser's history. */
  entry: unknown;
  /** What was found out before leaving, not to be asked for again. */
  found: Found;
}

interface Found {
  config: Config;
  provider: Provider;
}

export type LoginProblem = 'unreachable' | 'refused' | 'rejected';

/** Why there is no login; `detail` is the issuer's own word. */
export class LoginError extends Error {
  override readonly name = 'LoginError';
  constructor(
    readonly problem: LoginProblem,
    readonly detail: string | null = null,
  ) {
    super(problem);
  }
}

const CALLBACK = '/login/callback';
const UNDERWAY = 'login';
/** Renewed this long before it ends: the API's clock is not ours. */
const EARLY_MS = 60_000;
/** A token refused so soon after it was given will be refused the next time too. */
const LOOP_MS = 15_000;

let found: Found | null = null;
let session: Session | null = null;
let renewing: Promise<void> | null = null;

async function json<T>(url: string, init?: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch {
    throw new LoginError('unreachable');
  }
  if (response.ok) return (await response.json()) as T;
  const answer = (await response.json().catch(() => ({}))) as { error?: string };
  throw new LoginError(response.status < 500 ? 'refused' : 'unreachable', answer.error ?? null);
}

async function discover(): Promise<Found> {
  if (found === null) {
    const config = await json<Config>('/config.json');
    const issuer = config.issuer.replace(/\/$/, '');
    const provider = await json<Provider>(`${issuer}/.well-known/openid-configuration`);
    found = { config, provider };
  }
  return found;
}

function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '');
}

const redirectUri = () => window.location.origin + CALLBACK;

/** Leaves the page for the issuer; never resolves, so that nothing after it is shown. */
async function leave(options: { prompt?: 'login' } = {}): Promise<never> {
  const { config, provider } = await discover();
  const here = window.location;
  const underway: Underway = {
    state: random(),
    verifier: random(),
    returnTo: here.pathname === CALLBACK ? '/' : here.pathname + here.search,
    entry: window.history.state,
    found: { config, provider },
  };
  sessionStorage.setItem(UNDERWAY, JSON.stringify(underway));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(underway.verifier));
  const url = new URL(provider.authorization_endpoint);
  const parameters = {
    response_type: 'code',
    client_id: config.client_id,
    redirect_uri: redirectUri(),
    scope: config.scope ?? 'openid',
    state: underway.state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: 'S256',
    ...options,
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  // In place of this entry: going back leads to the page before, not into the login.
  window.location.replace(url);
  return new Promise(() => undefined);
}

async function redeem(grant: Record<string, string>): Promise<void> {
  const { config, provider } = await discover();
  const answer = await json<{
    access_token?: string;
    refresh_token?: string;
    expires_in?: number;
  }>(provider.token_endpoint, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ client_id: config.client_id, ...grant }),
  });
  const token = answer.access_token;
  if (!token) throw new LoginError('refused', 'no token');
  const now = Date.now();
  session = {
    token,
    refreshToken: answer.refresh_token ?? grant['refresh_token'] ?? null,
    expiresAt: now + (answer.expires_in ?? 3600) * 1000,
    startedAt: now,
  };
}

/** Comes back from the issuer with a code. Returns where the login began. */
async function finish(): Promise<Underway> {
  const query = new URLSearchParams(window.location.search);
  const stored = sessionStorage.getItem(UNDERWAY);
  sessionStorage.removeItem(UNDERWAY);
  const underway = stored === null ? null : (JSON.parse(stored) as Underway);
  const code = query.get('code');
  // A code that this tab did not ask for, or a bookmark of this address: start over.
  if (underway === null || query.get('state') !== underway.state) return leave();
  if (code === null) throw new LoginError('refused', query.get('error'));
  found = underway.found;
  const issuer = query.get('iss');
  if (issuer !== null && issuer !== found.config.issuer) {
    throw new LoginError('refused', 'another issuer');
  }
  await redeem({
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri(),
    code_verifier: underway.verifier,
  });
  return underway;
}

async function renew(): Promise<void> {
  const refreshToken = session?.refreshToken;
  if (!refreshToken) return leave();
  try {
    await redeem({ grant_type: 'refresh_token', refresh_token: refreshToken });
  } catch (error) {
    if (error instanceof LoginError && error.problem === 'unreachable') throw error;
    return leave();
  }
}

export const login = {
  /** Whether the issuer has just sent the browser back. */
  get isReturning(): boolean {
    return window.location.pathname === CALLBACK;
  },

  /** Makes sure somebody is logged in before anything is shown. May leave the page.
   * @throws LoginError */
  async start(): Promise<void> {
    if (!login.isReturning) return leave();
    const { returnTo, entry } = await finish();
    // Only a path of our own: whatever wrote the session storage, it leads nowhere else.
    const target = new URL(returnTo, window.location.origin);
    const own = target.origin === window.location.origin ? target.pathname + target.search : '/';
    window.history.replaceState(entry, '', own);
  },

  /** The token for the API, renewed when it is about to end. */
  async token(): Promise<string> {
    if (session === null || session.expiresAt - EARLY_MS < Date.now()) {
      renewing ??= renew().finally(() => (renewing = null));
      await renewing;
    }
    return session?.token ?? '';
  },

  /** Whether logging in anew may help after the API did not accept the token. */
  get worthAnother(): boolean {
    return session === null || Date.now() - session.startedAt > LOOP_MS;
  },

  /** Logs in again and comes back to this address. */
  again: () => leave(),

  /** Ends the login here and, where the issuer offers it, there. */
  async out(): Promise<void> {
    session = null;
    const { config, provider } = await discover();
    window.history.replaceState(null, '', '/');
    if (!provider.end_session_endpoint) return leave({ prompt: 'login' });
    const url = new URL(provider.end_session_endpoint);
    url.searchParams.set('client_id', config.client_id);
    // OpenID's name, and Cognito's own.
    url.searchParams.set('post_logout_redirect_uri', `${window.location.origin}/`);
    url.searchParams.set('logout_uri', `${window.location.origin}/`);
    window.location.assign(url);
    return new Promise(() => undefined);
  },

  /** The store's name as the token has it; only for show: the API reads the verified token. */
  get store(): string | null {
    const part = session?.token.split('.')[1];
    if (!part) return null;
    try {
      const bytes = Uint8Array.from(
        atob(part.replaceAll('-', '+').replaceAll('_', '/')),
        (character) => character.charCodeAt(0),
      );
      const claims = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
      const name = claims[found?.config.store_claim ?? 'store_id'];
      return typeof name === 'string' ? name : null;
    } catch {
      return null;
    }
  },
};
