import type { LookupAddress } from 'node:dns';
import type { Lookup } from './guard.ts';

type Callback = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void;

/**
 * Looks up so many names at once, and each only once at a time: the system's own way blocks a thread for as long as a
 * dead name server takes, and files are read on the same few threads.
 */
export function fewAtOnce(lookup: Lookup, most: number): Lookup {
  const waiting = new Map<string, Callback[]>();
  const line: string[] = [];
  let running = 0;

  function begin(): void {
    const hostname = running < most ? line.shift() : undefined;
    if (hostname === undefined) {
      return;
    }
    running += 1;
    lookup(hostname, (error, addresses) => {
      running -= 1;
      const callbacks = waiting.get(hostname) ?? [];
      waiting.delete(hostname);
      for (const callback of callbacks) {
        callback(error, addresses);
      }
      begin();
    });
  }

  return (hostname, callback) => {
    const others = waiting.get(hostname);
    if (others !== undefined) {
      others.push(callback);
      return;
    }
    waiting.set(hostname, [callback]);
    line.push(hostname);
    begin();
  };
}
