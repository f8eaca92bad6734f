import type { IncomingMessage } from 'node:http';
import { GatewayError } from '../../lib/errors.ts';
import { checkOrigin } from '../origin.ts';

/**
 * The cookie of a log-in. It counts only beside a header that no other site's page can send without being asked first
 * (`Kos-Page`), and goes to `/v1` alone: neither a page on another port of this host nor what listens there gets anything
 * out of it. Hubs on several ports of one host share its cookies: each looks for its own.
 */
export function cookieOf(request: IncomingMessage, hub: string): string | undefined {
  const name = nameOf(hub);
  const pair = request.headers.cookie?.split(';').find(one => one.trim().startsWith(`${name}=`));
  return pair?.slice(pair.indexOf('=') + 1).trim();
}

/** Whether the page itself sent it, as far as a header can say. */
export function isOfPage({ headers }: IncomingMessage): boolean {
  return headers['kos-page'] !== undefined;
}

/** The `Set-Cookie` of a log-in, for so many ms; `Secure` where the page itself came by https. */
export function givenCookie(request: IncomingMessage, hub: string, value: string, lifetime: number): string {
  const secure = request.headers.origin?.startsWith('https:') ? '; Secure' : '';
  const about = `Path=/v1; Max-Age=${Math.floor(lifetime / 1000)}; HttpOnly; SameSite=Strict${secure}`;
  return `${nameOf(hub)}=${value}; ${about}`;
}

/** The `Set-Cookie` that takes it away. */
export function takenCookie(hub: string): string {
  return `${nameOf(hub)}=; Path=/v1; Max-Age=0; HttpOnly; SameSite=Strict`;
}

/** Throws `request/forbidden` where a browser says that the page is another's. */
export function checkPage(request: IncomingMessage): void {
  checkOrigin(request, { host: '' });
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') {
    throw new GatewayError('request/forbidden', 'not a page of this gateway');
  }
}

function nameOf(hub: string): string {
  return `kos-${hub.slice(0, 8)}`;
}
