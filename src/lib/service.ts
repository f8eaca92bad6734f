import type { Clock } from './clock.ts';
import { codeOf, isGatewayError } from './errors.ts';
import type { Log } from './log.ts';
import type { Random } from './random.ts';

/** Something that runs until told to stop, and says when it is ready. */
export interface Service {
  readonly name: string;
  run(ready: () => void, signal: AbortSignal): Promise<void>;
}

export type ServiceState = 'starting' | 'up' | 'waiting' | 'stopped';

/** How a supervised part is doing, for status and `/readyz`. */
export interface ServiceHealth {
  readonly name: string;
  readonly state: ServiceState;
  /** ms epoch of the last change of state. */
  readonly since: number;
  /** Why it is not up, in words, and the code of the last failure. */
  readonly reason?: string;
  readonly code?: string;
  /** Failures that were not ours to foresee: bugs. */
  readonly bugs: number;
}

export interface Supervision {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onChange?: (health: ServiceHealth) => void;
  /** First and longest wait between two runs, ms. */
  readonly firstDelay?: number;
  readonly longestDelay?: number;
}

/**
 * Runs a service again and again until the signal: the only reconnect loop in the program. The wait
 * doubles up to `longestDelay` with full jitter and starts over once a run has been ready.
 */
export async function supervise(service: Service, supervision: Supervision): Promise<void> {
  const { clock, random, log, signal, onChange } = supervision;
  const first = supervision.firstDelay ?? 200;
  const longest = supervision.longestDelay ?? 30_000;
  let failures = 0;
  let bugs = 0;
  const tell = (state: ServiceState, why: { reason?: string; code?: string } = {}) => {
    onChange?.({ name: service.name, state, since: clock.now(), bugs, ...why });
  };
  while (!signal.aborted) {
    if (failures === 0) {
      tell('starting');
    }
    let why: { reason: string; code: string };
    try {
      await service.run(() => {
        failures = 0;
        tell('up');
      }, signal);
      why = { reason: 'ended by itself', code: 'internal' };
    } catch (error) {
      if (signal.aborted) {
        break;
      }
      if (isGatewayError(error)) {
        why = { reason: error.message, code: error.code };
      } else {
        bugs += 1;
        why = { reason: String(error), code: codeOf(error) };
        log.error({ service: service.name, error }, 'a bug stopped a service; it will be started again');
      }
    }
    if (signal.aborted) {
      break;
    }
    const ceiling = Math.min(first * 2 ** Math.min(failures, 20), longest);
    const delay = ceiling / 2 + (random.fraction() * ceiling) / 2;
    failures += 1;
    log.warn({ service: service.name, ...why, ms: Math.round(delay) }, 'service down, starting again');
    tell('waiting', why);
    try {
      await clock.sleep(delay, signal);
    } catch {
      break;
    }
  }
  tell('stopped');
}
