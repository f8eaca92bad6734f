import type { Duplex } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import { mqttLimits } from './config.ts';
import { type Opening, openingBytes, readOpening } from './wire.ts';

/**
 * Reads the first bytes of a connection, until they say which protocol it speaks, and puts them back.
 * Calls back once: with what it is, or `garbage` after the time or the end.
 */
export function peekOpening(
  stream: Duplex,
  clock: Clock,
  tell: (opening: Exclude<Opening, { kind: 'more' }>) => void,
): void {
  let bytes = Buffer.alloc(0);
  const look = () => {
    // All that is there: a stream that still holds some does not tell its next reader of what is put back.
    const there: Buffer[] = [bytes];
    for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) {
      there.push(chunk as Buffer);
    }
    bytes = Buffer.concat(there);
    const opening = readOpening(bytes.subarray(0, openingBytes), mqttLimits.packetBytes);
    if (opening.kind !== 'more') {
      finish(opening);
    }
  };
  const finish = (opening: Exclude<Opening, { kind: 'more' }>) => {
    cancel();
    stream.off('readable', look).off('end', lost).off('close', lost);
    if (opening.kind === 'connect') {
      stream.unshift(bytes);
    }
    tell(opening);
  };
  const lost = () => finish({ kind: 'garbage' });
  const cancel = clock.after(mqttLimits.connectTimeout, lost);
  stream.on('readable', look).on('end', lost).on('close', lost);
}

/**
 * Lets `watch` see every chunk before the broker library gets it, and makes an argumentless read give all
 * that is there: the library reads once for each `readable`, while since Node 26 such a read gives one chunk
 * and the rest would wait for a next packet that never comes. A chunk that `watch` throws at ends the stream.
 */
export function watchReads(stream: Duplex, watch: (chunk: Uint8Array) => void): void {
  const read = stream.read;
  stream.read = function readAll(size?: number | null) {
    const chunk = read.call(this, size ?? (this.readableLength || undefined)) as Uint8Array | null;
    if (chunk !== null) {
      try {
        watch(chunk);
      } catch {
        this.destroy();
        return null;
      }
    }
    return chunk;
  };
}
