import type { PaymentMethod } from '../api/client';
import { formatExpiry } from '../format';
import { t } from '../texts';
import { CardIcon } from '../ui/icons';
import { Badge, Hidden, ProviderBadge } from '../ui/ui';
import classes from './customer.module.css';

/** `Visa •••• 4242`, read out as "Visa ending in 4242". */
export function MethodName({
  method,
}: {
  method: { type: string; brand: string | null; last4: string | null };
}) {
  const name = t.methodName(method.type, method.brand);
  if (method.last4 === null) return <>{name}</>;
  return (
    <span className={classes.method}>
      <span aria-hidden="true">
        {name} {t.lastDigits(method.last4)}
      </span>
      <Hidden>{t.endingIn(name, method.last4)}</Hidden>
    </span>
  );
}

export function PaymentMethods({ methods }: { methods: PaymentMethod[] }) {
  return (
    <section className={classes.card} aria-labelledby="methods">
      <h2 id="methods" className={classes.cardHeading}>
        {t.customer.paymentMethods}
      </h2>
      {methods.length === 0 ? (
        <p className={classes.nothing}>{t.customer.noPaymentMethods}</p>
      ) : (
        <ul className={classes.methods}>
          {methods.map((method) => (
            <li key={method.payment_method_id}>
              <CardIcon size={20} />
              <div className={classes.methodText}>
                <div>
                  <MethodName method={method} />
                </div>
                <Expiry method={method} />
              </div>
              <div className={classes.methodBadges}>
                {method.is_default && <Badge tone="neutral">{t.customer.defaultMethod}</Badge>}
                {method.payment_provider === 'stripe_test' && (
                  <ProviderBadge provider={method.payment_provider} />
                )}
              </div>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Expiry({ method }: { method: PaymentMethod }) {
  const { exp_month: month, exp_year: year } = method;
  if (month === null || year === null) return null;
  const date = formatExpiry(month, year);
  // Good until the end of the month that is printed on it.
  const isOver = new Date() >= new Date(year, month, 1);
  return (
    <div className={classes.small}>
      {isOver ? t.customer.expired(date) : t.customer.expires(date)}
    </div>
  );
}
