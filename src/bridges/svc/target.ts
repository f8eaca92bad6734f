import { timingSafeEqual } from 'node:crypto';
import { GatewayError } from '../../lib/errors.ts';

/** What a request target of the replicas' listener means. */
export interface Target {
  readonly service: string;
  /** What stands before the service's own paths: `/svc/notes`, or `/svc/notes/~token`. */
  readonly prefix: string;
  /** The token of the path, where one is given. */
  readonly token?: string;
  /** Path and query below the service, byte for byte, beginning with `/`. */
  readonly path: string;
}

const shape = /^\/svc\/([a-z0-9-]{1,64})(?:\/~([A-Za-z0-9._~-]{1,256}))?(?=[/?]|$)(.*)$/s;
/** A step that leads elsewhere once somebody resolves it, also where that one decodes before, or takes `\\` for `/`. */
const dots = /(?:^|\/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:\/|\\|%2f|%5c|$)/i;

/** Reads a request target. Throws `request/not-found` for what is no service's, `request/invalid` for dot segments. */
export function targetOf(url: string): Target {
  // A proxy's client sends the whole URL.
  const origin = /^https?:\/\/[^/?#]*/i.exec(url)?.[0] ?? '';
  const match = shape.exec(url.slice(origin.length));
  if (match === null) {
    throw new GatewayError('request/not-found', 'replicas are at /svc/{id}/');
  }
  const [whole, service = '', token, rest = ''] = match;
  const path = rest.startsWith('/') ? rest : `/${rest}`;
  if (dots.test(path.split('?', 1)[0] ?? '')) {
    throw new GatewayError('request/invalid', 'a path with . or .. as a step');
  }
  return {
    service,
    prefix: whole.slice(0, whole.length - rest.length),
    ...(token !== undefined && { token }),
    path,
  };
}

/** Whether a token given is the one wanted, in a time that tells nothing. */
export function sameToken(given: string | undefined, wanted: string): boolean {
  const [one, other] = [Buffer.from(given ?? ''), Buffer.from(wanted)];
  return one.length === other.length && timingSafeEqual(one, other);
}
