import { GatewayError } from '../../lib/errors.ts';
import { failureOf } from './origin-failure.ts';
import type { Service } from './service.ts';

/** There is no answer: 504, and when to come again. */
export function miss(service: Service, detail: string): GatewayError {
  const { state } = service.link;
  const why = service.link.away && state.reason !== undefined ? `${detail} (${state.reason})` : detail;
  return new GatewayError('replica/offline-miss', why, {
    retryable: true,
    detail: whenAgain(service, state),
  });
}

/** The service gave none: 502, or 504 where it was the time. */
export function unanswered(service: Service, error: unknown): GatewayError {
  const cause = failureOf(error);
  const status =
    cause === 'headers' || cause === 'connect' || cause === 'idle' ? 504 : cause === 'busy' ? 503 : 502;
  return new GatewayError('bridge/unavailable', (error as Error).message, {
    retryable: true,
    cause: error,
    detail: {
      ...whenAgain(service, service.link.state),
      status,
      cause,
      sent: (error as GatewayError).detail?.sent,
    },
  });
}

function whenAgain(
  { clock, definition }: Service,
  state: { readonly since: number; readonly nextProbeAt?: number },
): Record<string, unknown> {
  const wait = state.nextProbeAt === undefined ? 5000 : state.nextProbeAt - clock.now();
  return { retryAfter: Math.max(1, wait / 1000), service: definition.id, since: state.since };
}
