/** Every English word of the console. A text with a gap is a function. */

import type { components } from './api/schema';

type Schemas = components['schemas'];
type Purchase = Schemas['Purchase'];
type Access = Schemas['Access']['state'];

/** What went wrong, and what to do about it. */
export interface Trouble {
  title: string;
  advice: string;
}

const status: Record<Purchase['status'], string> = {
  active: 'Active',
  trialing: 'Trial',
  past_due: 'Past due',
  unpaid: 'Unpaid',
  paused: 'Paused',
  incomplete: 'Incomplete',
  cancelled: 'Cancelled',
  expired: 'Expired',
  pending: 'Pending',
  failed: 'Failed',
  unknown: 'Unknown',
};

const statusHint: Partial<Record<Purchase['status'], string>> = {
  past_due: 'The last payment failed; Stripe is trying again. Access stays meanwhile.',
  unpaid: 'Stripe has stopped trying to collect the payment.',
  paused: 'The trial ended without a payment method.',
  incomplete: 'The first payment has not gone through yet.',
  pending: 'The payment is still on its way.',
  failed: 'The payment did not go through.',
  unknown: 'Stripe reports a status that this version does not know.',
};

const access: Record<Access, string> = {
  granted: 'Has access',
  not_linked: 'Not linked',
  revoking: 'Removing',
  revoked: 'Removed',
  kept: 'Kept',
  failed: 'Not removed',
  no_chats: 'No chats',
};

const kind: Record<Purchase['kind'], string> = {
  one_off: 'One-off purchase',
  subscription: 'Subscription',
  access_code: 'Access code',
};

const provider: Record<Schemas['PaymentProvider'], string> = {
  stripe: 'Stripe',
  stripe_test: 'Stripe test',
};

const endReason: Record<string, string> = {
  cancelled_by_owner: 'cancelled by you',
  cancelled_by_customer: 'cancelled by the customer',
  cancelled_in_stripe: 'cancelled in Stripe',
  payment_failed: 'the payment failed',
  disputed: 'the payment was disputed',
  expired: 'the term of the code ran out',
};

const transactionType: Record<Schemas['Transaction']['type'], string> = {
  charge: 'Charge',
  refund: 'Refund',
  dispute: 'Dispute',
  adjustment: 'Adjustment',
};

const transactionStatus: Record<string, string> = {
  succeeded: 'Succeeded',
  pending: 'Pending',
  failed: 'Failed',
  canceled: 'Cancelled',
  requires_action: 'Needs action',
  needs_response: 'Needs a response',
  under_review: 'Under review',
  warning_needs_response: 'Inquiry: needs a response',
  warning_under_review: 'Inquiry: under review',
  warning_closed: 'Inquiry closed',
  won: 'Won dispute',
  lost: 'Lost dispute',
};

const methodType: Record<string, string> = {
  card: 'Card',
  link: 'Link',
  paypal: 'PayPal',
  sepa_debit: 'SEPA debit',
  us_bank_account: 'US bank account',
  bacs_debit: 'Bacs debit',
  ideal: 'iDEAL',
};

const cardBrand: Record<string, string> = {
  visa: 'Visa',
  mastercard: 'Mastercard',
  amex: 'American Express',
  discover: 'Discover',
  diners: 'Diners Club',
  jcb: 'JCB',
  unionpay: 'UnionPay',
};

const historyEvent: Record<string, string> = {
  purchased: 'Purchased',
  cancel_requested: 'Cancellation requested',
  cancel_confirmed: 'Cancellation confirmed by Stripe',
  cancel_refused: 'Cancellation refused by Stripe',
  cancel_withdrawn: 'Cancellation taken back in Stripe',
  cancel_rescheduled: 'End moved in Stripe',
  reason_given: 'Reason given',
  ended_without_stripe: 'Ended here without Stripe',
  linked: 'Telegram account linked',
  relinked: 'Telegram account replaced',
  unlinked: 'Telegram account taken off',
  switched: 'Product switched',
  ended: 'Ended',
  access_revoked: 'Removed from a chat',
  access_kept: 'Stays in a chat',
  access_failed: 'Could not be removed from a chat',
  removal_postponed: 'Removal from a chat put off',
  removal_restarted: 'Removal from a chat begun again',
  revocation_requested: 'Removal tried again',
};

const historyActor: Record<string, string> = {
  owner: 'You',
  customer: 'Customer',
  stripe: 'Stripe',
  system: 'Automatic',
  store: 'Store',
};

/** `aurora_pay` → `Aurora pay`: something new that we have no word for yet. */
const humanized = (code: string): string => {
  const words = code.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
};

const problems: Record<string, Trouble> = {
  unreachable: {
    title: 'The server could not be reached',
    advice: 'Check your connection, then try again.',
  },
  401: { title: 'Your login has ended', advice: 'Log in again to go on.' },
  403: {
    title: 'This login has no store',
    advice: 'Log in with an account that belongs to exactly one store.',
  },
  429: { title: 'Too many requests', advice: 'Wait a moment, then try again.' },
  not_found: {
    title: 'Not found',
    advice: 'It may have been removed, or the address belongs to another store.',
  },
  invalid_cursor: {
    title: 'This page of the list no longer exists',
    advice: 'Go back to the first page.',
  },
  invalid_request: {
    title: 'The server did not accept the request',
    advice: 'Clear the search and the filters, then try again.',
  },
};

const fault: Trouble = {
  title: 'Something went wrong on our side',
  advice: 'Try again in a moment. If it goes on, give support the request number.',
};

const cancelProblems: Record<string, Trouble> = {
  unreachable: {
    title: 'No answer from the server',
    advice:
      'It may or may not have received your request. Try again: the purchase is never cancelled twice.',
  },
  401: {
    title: 'Your login has ended',
    advice: 'Nothing was cancelled. Log in again, then repeat this step.',
  },
  403: {
    title: 'This login has no store',
    advice: 'Nothing was cancelled. Log in with an account that belongs to exactly one store.',
  },
  429: {
    title: 'Too many requests',
    advice: 'Nothing was cancelled. Wait a moment, then try again.',
  },
  confirmation_mismatch: {
    title: 'The confirmation does not match',
    advice: 'Nothing was cancelled. Type CANCEL PURCHASE, in capital letters, with one space.',
  },
  period_end_not_available: {
    title: 'This purchase can only be cancelled immediately',
    advice: 'Nothing was cancelled. Choose “Immediately”, or keep the purchase.',
  },
  purchase_already_ended: {
    title: 'This purchase has already ended',
    advice: 'There is nothing left to cancel. Close this window to see how it ended.',
  },
  operation_in_progress: {
    title: 'Another change of this purchase is running',
    advice: 'Nothing was changed by you. Wait a few seconds, then try again.',
  },
  idempotency_key_reused: {
    title: 'The request was changed while it was being sent',
    advice: 'Nothing was cancelled. Try again.',
  },
  stripe_refused: {
    title: 'Stripe refused to cancel',
    advice:
      'Nothing was cancelled. Check in Stripe that the account is still connected and the subscription exists there, then try again.',
  },
  not_found: {
    title: 'This purchase was not found',
    advice: 'Close this window and load the page again.',
  },
  invalid_request: {
    title: 'The server did not accept the request',
    advice: 'Nothing was cancelled. Load the page again; it may be out of date.',
  },
  fault: {
    title: 'Something went wrong on our side',
    advice:
      'It is not certain whether the request was recorded. Try again: the purchase is never cancelled twice.',
  },
};

export const t = {
  appName: 'Customers',
  skipToContent: 'Skip to content',
  store: (name: string) => `Store: ${name}`,
  logOut: 'Log out',
  scheme: { toDark: 'Switch to dark mode', toLight: 'Switch to light mode' },
  tryAgain: 'Try again',
  logInAgain: 'Log in again',
  loading: 'Loading',
  none: '—',
  requestId: (id: string) => `Request ${id}`,
  copy: (what: string) => `Copy ${what}`,
  copied: 'Copied',
  humanized,

  login: {
    unreachable: {
      title: 'The login could not be reached',
      advice: 'Check your connection, then try again.',
    },
    refused: {
      title: 'The login did not succeed',
      advice: 'Log in again. If it goes on, tell whoever runs the console.',
    },
    rejected: {
      title: 'The server does not accept this login',
      advice: 'Log in again, with another account if you have one.',
    },
  } satisfies Record<string, Trouble>,

  trouble: (code: string): Trouble => problems[code] ?? fault,
  cancelTrouble: (code: string): Trouble =>
    cancelProblems[code] ?? cancelProblems['fault'] ?? fault,

  crashed: {
    title: 'This page stopped working',
    advice: 'Load it again. If it goes on, tell support what you did last.',
    reload: 'Load again',
  },
  unknownPage: {
    title: 'There is nothing at this address',
    advice: 'The link may be incomplete.',
    action: 'Go to all customers',
  },

  customers: {
    title: 'Customers',
    search: 'Search customers',
    searchPlaceholder: 'Name, e-mail or Grouptizer ID',
    searchShortcut: '/',
    searchHint: 'Press / to search',
    clearSearch: 'Clear search',
    filters: 'Filters',
    product: 'Product',
    provider: 'Provider',
    accessCode: 'Access code',
    usedCode: { any: 'Any', true: 'Used a code', false: 'Never used a code' },
    transaction: 'Transaction',
    transactionLabel: 'Transaction ID',
    transactionHint: '12 letters and digits, as on the receipt or in Transactions',
    apply: 'Find',
    clear: 'Clear',
    clearAll: 'Clear all',
    findProduct: 'Find a product',
    noSuchProduct: 'No product with this name',
    noProducts: 'No products yet',
    productsFailed: 'The products could not be loaded.',
    filterIsOn: (name: string, values: string) => `${name}: ${values}`,
    someOf: (first: string, more: number) => `${first} +${more}`,
    sort: 'Sort',
    sortBy: { newest: 'Newest first', oldest: 'Oldest first' },
    perPage: 'Rows per page',
    perPageOption: (n: number) => `${n} per page`,
    columns: { customer: 'Customer', boughtWith: 'Bought with', since: 'Customer since' },
    since: (date: string) => `Since ${date}`,
    unnamed: 'No name',
    usedAccessCode: 'Access code',
    next: 'Next',
    previous: 'Previous',
    first: 'First page',
    pages: 'Pages',
    page: (n: number, rows: number) =>
      `Page ${n} · ${rows === 1 ? '1 customer' : `${rows} customers`}`,
    shown: (rows: number) => (rows === 1 ? '1 customer shown' : `${rows} customers shown`),
    updating: 'Loading customers',
    empty: {
      title: 'No customers yet',
      advice:
        'Everybody who buys a product or redeems an access code appears here within seconds. If you have sold something already, check that Stripe sends its events to this store.',
    },
    noMatch: {
      title: 'No customer matches',
      advice: 'Check the spelling, use fewer words, or remove a filter.',
      action: 'Clear search and filters',
      asTransaction: (id: string) => `Look for transaction ${id}`,
    },
    notYet: {
      title: 'No match so far',
      advice: 'There are more customers to look through.',
      action: 'Keep looking',
    },
    endOfList: {
      title: 'This page is empty now',
      advice: 'The customers on it have moved. Go back to the first page.',
    },
    failed: 'The customers could not be loaded',
  },

  customer: {
    back: 'All customers',
    since: 'Customer since',
    email: 'E-mail',
    grouptizerId: 'Grouptizer ID',
    purchases: 'Purchases',
    noPurchases: 'No purchases.',
    morePurchases: 'Show more purchases',
    purchasesFailed: 'Further purchases could not be loaded.',
    transactions: 'Transactions',
    noTransactions: 'No transactions: nothing has been paid.',
    moreTransactions: 'Show more transactions',
    transactionsFailed: 'Further transactions could not be loaded.',
    paymentMethods: 'Payment methods',
    noPaymentMethods: 'No payment method on file.',
    defaultMethod: 'Default',
    expires: (date: string) => `Expires ${date}`,
    expired: (date: string) => `Expired ${date}`,
    history: 'History',
    notFound: {
      title: 'This customer does not exist',
      advice: 'The link may be incomplete, or it belongs to another store.',
    },
    failed: 'The customer could not be loaded',
    stale: 'Could not be brought up to date; what you see may be old.',
  },

  status,
  statusHint,
  access,
  kind,
  provider,
  transactionType,
  transactionStatus: (code: string) => transactionStatus[code] ?? humanized(code),
  disputeFee: 'Dispute fee',
  relatedTo: 'of',
  inStripe: (id: string) => `${id}: open it in Stripe`,
  refunded: { partly: 'Partly refunded', fully: 'Refunded' },
  methodName: (type: string, brand: string | null) =>
    (brand !== null && (cardBrand[brand] ?? humanized(brand))) ||
    (methodType[type] ?? humanized(type)),
  lastDigits: (last4: string) => `•••• ${last4}`,
  endingIn: (name: string, last4: string) => `${name} ending in ${last4}`,
  history: {
    event: (code: string) => historyEvent[code] ?? humanized(code),
    actor: (code: string) => historyActor[code] ?? code,
    detail: (code: string): string =>
      ({ immediately: 'Immediately', period_end: 'At the end of the period' })[code] ??
      (endReason[code] ? sentence(endReason[code]) : code),
  },

  purchase: {
    billing: 'Billing',
    accessLabel: 'Access',
    unknownProduct: 'Unknown product',
    purchased: 'Purchased',
    redeemed: 'Redeemed',
    renews: 'Renews',
    trialEnds: 'Trial ends',
    periodEnds: 'Period ends',
    expires: 'Expires',
    ended: 'Ended',
    forLife: 'For life',
    because: (reason: string) => endReason[reason] ?? humanized(reason).toLowerCase(),
    paymentMethod: 'Payment method',
    accessCode: 'Code',
    telegram: 'Telegram account',
    endsOn: (date: string) => `Ends on ${date}`,
    removingNext: (time: string) => `Removing from Telegram, next try ${time}`,
    removing: 'Removing from Telegram',
    stripePending: 'Waiting for Stripe to confirm the cancellation',
    schedulePending: 'Waiting for Stripe to confirm the end of the period',
    stripePendingAdvice: 'It is tried again by itself. You can leave this page.',
    refused: (date: string) => `Stripe refused the cancellation of ${date}`,
    refusedAdvice:
      'Nothing was cancelled. Check in Stripe that the account is still connected and the subscription exists there, then cancel again.',
    notCancelled: (product: string) => `${product} was not cancelled: Stripe refused.`,
    failedTitle: 'Could not be removed from Telegram',
    failedUnknown: 'Telegram refused the removal.',
    failedAdvice: 'Put this right in Telegram, then retry. Or leave the person in the chat.',
    keptThrough: (products: string) => `Stays through ${products}`,
    keptUnknown: 'Stays through another purchase',
    chats: 'Chats',
    chat: (id: string) => `Chat ${id}`,
    chatState: {
      granted: 'Member',
      revoking: 'Removing',
      revoked: 'Removed',
      kept: 'Kept',
      failed: 'Not removed',
    },
    cancel: 'Cancel purchase',
    cancelOf: (product: string) => `Cancel purchase of ${product}`,
    retry: 'Retry',
    retryOf: (product: string) => `Retry removing from ${product}`,
    retrying: 'Retrying',
    retryFailed: 'The retry was not accepted',
    doneCancelled: (product: string) => `${product} is cancelled.`,
    doneScheduled: (product: string, date: string) => `${product} ends on ${date}.`,
    doneUnchanged: (product: string) => `${product}: nothing to change, it was already so.`,
    pendingCancelled: (product: string) =>
      `The cancellation of ${product} is recorded and under way. This page follows it.`,
    doneRemoved: (product: string) => `${product}: access has ended.`,
    doneKept: (product: string) => `${product}: the person stays through another purchase.`,
    failedRemoval: (product: string) => `${product}: the person could not be removed.`,
  },

  cancel: {
    title: (product: string) => `Cancel ${product}?`,
    warning:
      "Cancelling this purchase will revoke the customer's access to the product. If it was a subscription, no further charges will be made. This action cannot be undone.",
    phrase: 'CANCEL PURCHASE',
    phraseLabel: 'Type CANCEL PURCHASE to confirm',
    phraseWrong: 'Type it in capital letters, exactly: CANCEL PURCHASE',
    when: 'When to cancel',
    immediately: 'Immediately',
    periodEnd: 'At the end of the period',
    on: (date: string) => `On ${date}`,
    rightNow: 'As soon as you confirm',
    alreadyScheduled: (date: string) => `Already scheduled to end on ${date}`,
    effect: 'What happens',
    leavesNow: 'Leaves now',
    leavesOn: (date: string) => `Leaves on ${date}`,
    stays: 'Stays in',
    through: (products: string) => `through ${products}`,
    throughUntil: (product: string, date: string) => `${product} (until ${date})`,
    notLinked: 'No Telegram account is linked to this purchase, so nobody leaves a chat.',
    noChats: 'The product opens no chat, so nobody leaves one.',
    noCharges: 'No further charges. Nothing is refunded.',
    noRefund: 'Nothing is refunded.',
    noChange: 'Nothing changes: it already ends then.',
    reason: 'Reason (optional)',
    reasonHint: 'For your own records; the customer does not see it',
    keep: 'Keep purchase',
    confirm: 'Cancel purchase',
    sending: 'Cancelling…',
    close: 'Close',
    said: (detail: string) => `The server said: ${detail}`,
  },
};

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
