import type { Switch } from '../gateway/switch.ts';

/** ms that the first start of bridges and interfaces is waited for before the hub says it is ready. */
const settleTime = 1000;

/** Resolves when no part is starting for the first time any more, or after a second: a dead uplink holds nothing up. */
export async function settled(
  gateway: Pick<Switch, 'desk' | 'onHealth'>,
  others: readonly string[],
): Promise<void> {
  const names = new Set(['lxmf', 'mqtt', ...others]);
  const isSettled = () =>
    gateway.desk.health().services.filter(service => names.has(service.name) && service.state !== 'starting')
      .length >= names.size;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = gateway.onHealth(() => isSettled() && resolve());
  const timer = setTimeout(resolve, settleTime);
  if (isSettled()) {
    resolve();
  }
  await promise;
  clearTimeout(timer);
  stop();
}
