import { tcpMtu } from './tcp-client.ts';

/**
 * Where the programs of a machine find the node they share: a unix socket in the abstract namespace of Linux,
 * which is no file and goes with its owner, or a TCP port of the loopback.
 *
 * Source: the rules of RNS 1.5.7, checked against it in test/interop/shared-instance.test.ts.
 */
export type LocalPlace = { readonly name: string } | { readonly port: number };

/** Bytes of the largest packet between a program and its node. */
export const localMtu = tcpMtu;
/** bit/s that are guessed: the link MTU follows from it. */
export const localBitrate = 1_000_000_000;

/** What to listen on, or to dial. */
export function addressOfPlace(place: LocalPlace): { path: string } | { host: string; port: number } {
  return 'name' in place ? { path: `\0rns/${place.name}` } : { host: '127.0.0.1', port: place.port };
}

/** A place in words. */
export function placeInWords(place: LocalPlace): string {
  return 'name' in place ? `rns/${place.name}` : `127.0.0.1:${place.port}`;
}
