import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { GatewayError } from '../lib/errors.ts';

export interface OwnNames {
  /** Address the listener is bound to. */
  readonly host: string;
  /** Names besides `localhost` by which browsers may call a loopback listener. */
  readonly hosts?: readonly string[];
  /** Origins of other sites whose pages may open a WebSocket. */
  readonly origins?: readonly string[];
}

/**
 * A page of a stranger whose name was re-bound to this machine must not speak to a loopback listener, so what
 * a browser sends is taken only under a name that no stranger can own. Throws `request/forbidden`.
 */
export function checkHost(request: IncomingMessage, { host, hosts = [] }: OwnNames): void {
  const { origin, host: header = '' } = request.headers;
  const browser = origin !== undefined || request.headers['sec-fetch-site'] !== undefined;
  if (browser && isLoopback(host) && !isOwnName(hostname(header), hosts)) {
    throw new GatewayError('request/forbidden', 'this gateway is not known to browsers by that host name');
  }
}

/**
 * A browser sends no preflight for a WebSocket: the page must come from the host it calls, or from a site that is named. What
 * has no `Origin` is no browser. Throws `request/forbidden`.
 */
export function checkOrigin(request: IncomingMessage, names: OwnNames): void {
  checkHost(request, names);
  const { origin, host = '' } = request.headers;
  if (origin === undefined || names.origins?.includes(origin)) {
    return;
  }
  const from = URL.parse(origin);
  const own = from && URL.parse(`${from.protocol}//${host}`);
  if (from === null || (from.host !== own?.host && !names.hosts?.includes(from.hostname))) {
    throw new GatewayError('request/forbidden', 'not a page of this gateway');
  }
}

/**
 * Like `checkOrigin`, and for what a browser sends without an `Origin` as well: a picture, a script or a form of another
 * site's page. What a person opened by hand counts as their own. Throws `request/forbidden`.
 */
export function checkPage(request: IncomingMessage, names: OwnNames): void {
  checkOrigin(request, names);
  const site = request.headers['sec-fetch-site'];
  if (request.headers.origin === undefined && (site === 'cross-site' || site === 'same-site')) {
    throw new GatewayError('request/forbidden', 'not a page of this gateway');
  }
}

/** Who stands in front of this gateway may have looked at the other of two names. Throws `request/invalid`. */
export function checkOneHost(request: IncomingMessage): void {
  if (hasTwoHosts(request)) {
    throw new GatewayError('request/invalid', 'more than one Host', {
      errors: [{ pointer: '/header/host', detail: 'is there more than once' }],
    });
  }
}

/** Whether a request has more than one `Host`: the parser lets it pass, and keeps the first. Source: RFC 9112 §3.2. */
export function hasTwoHosts({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0;
  for (let n = 0; n < rawHeaders.length; n += 2) {
    const name = rawHeaders[n] ?? '';
    // Few names are as long, so that this costs nothing.
    if (name.length === 4 && name.toLowerCase() === 'host') {
      hosts += 1;
    }
  }
  return hosts > 1;
}

function hostname(header: string): string {
  return URL.parse(`http://${header}`)?.hostname.replace(/^\[|\]$/g, '') ?? '';
}

function isOwnName(name: string, hosts: readonly string[]): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0 || hosts.includes(name);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
