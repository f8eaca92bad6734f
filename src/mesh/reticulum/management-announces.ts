import type { Clock } from '../../lib/clock.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { LocalDestination } from './destination.ts';
import type { Transport } from './transport.ts';

/** ms after the first interface is up: what people wait for is announced first. Source: RNS 1.5.7. */
const firstAfter = 15_000;
/** ms between two rounds; each is up to a tenth early. The reference takes two hours, we spare the air: a path request is answered at any time. */
const interval = 6 * 3_600_000;
const jitter = 0.1;
/** ms between two of them: the reference holds back what comes faster over an interface that is new to it. */
const pause = 1000;

export interface ManagementAnnouncesParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly transport: Pick<Transport, 'announce' | 'onInterface' | 'interfaces'>;
}

/** Announces the destinations a node has for its own sake, over and over until the signal. */
export async function announceManagement(
  destinations: readonly LocalDestination[],
  parts: ManagementAnnouncesParts,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random, log, transport } = parts;
  try {
    await firstInterface(transport, signal);
    await clock.sleep(firstAfter, signal);
    for (;;) {
      for (const destination of destinations) {
        try {
          await transport.announce(destination);
        } catch (error) {
          log.warn({ destination: destination.name, code: codeOf(error) }, 'a destination was not announced');
        }
        await clock.sleep(pause, signal);
      }
      await clock.sleep(interval * (1 - random.fraction() * jitter), signal);
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
  }
}

/** Resolves when packets can leave by an interface; rejects with the signal's reason. */
export async function firstInterface(
  transport: Pick<Transport, 'onInterface' | 'interfaces'>,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const isUp = () => [...transport.interfaces()].some(({ sends }) => sends);
  if (isUp()) {
    return;
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const cancel = transport.onInterface(() => isUp() && resolve());
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await promise;
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
  }
}
