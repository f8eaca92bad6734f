import { PassThrough } from 'node:stream';
import type { BufferBudget } from './buffers.ts';
import { field } from './fields.ts';
import type { OriginAnswer } from './origin.ts';
import { failed } from './origin-failure.ts';

/** A body that may be kept, as it arrives. Whoever takes one reads `stream()` or calls `drop()` in the end, or waits for `whole`. */
export interface Taken {
  /** Resolves with the whole body, or undefined where it will not be kept: too long, or no memory for it. Rejects where it broke off. */
  readonly whole: Promise<Uint8Array | undefined>;
  /** The body for a client who does not wait for the whole of it; once. */
  stream(): PassThrough;
  /** Nobody wants it any more. */
  drop(): void;
}

/**
 * Reads the body of an answer as fast as it comes, up to what may be kept; what is more goes on only as fast as a
 * client reads. A client's stream begins with what is there already.
 */
export function takeBody(answer: OriginAnswer, most: number, budget: BufferBudget): Taken {
  const { body } = answer;
  const { promise: whole, resolve, reject } = Promise.withResolvers<Uint8Array | undefined>();
  // Whoever waits hears of it; nobody need wait.
  whole.catch(() => undefined);
  const announced = field(answer.headers, 'content-length');
  /** What came so far and is in the budget; undefined once it is clear that it will not be kept, or it is whole. */
  let held: Uint8Array[] | undefined = [];
  let bytes = 0;
  /** What a client's stream begins with. */
  let before: Uint8Array[] = [];
  let client: PassThrough | undefined;
  let over: 'ended' | Error | undefined;

  const release = () => {
    budget.give(bytes);
    bytes = 0;
    held = undefined;
  };
  const giveUp = () => {
    before = client === undefined ? (held ?? []) : [];
    release();
    resolve(undefined);
  };
  const broke = (cause: Error) => {
    if (over === undefined) {
      over = cause;
      release();
      reject(cause);
      client?.destroy(cause);
    }
  };

  if (Number(announced ?? 0) > most) {
    giveUp();
  }
  body.on('data', (chunk: Uint8Array) => {
    if (held !== undefined) {
      if (bytes + chunk.length <= most && budget.take(chunk.length)) {
        bytes += chunk.length;
        held.push(chunk);
      } else {
        giveUp();
      }
    }
    if (client === undefined) {
      if (held === undefined) {
        before.push(chunk);
        body.pause();
      }
    } else if (!client.write(chunk) && held === undefined) {
      body.pause();
    }
  });
  body.on('end', () => {
    over = 'ended';
    if (held !== undefined) {
      const all = Buffer.concat(held);
      before = [all];
      release();
      resolve(all);
    }
    client?.end();
  });
  body.on('error', broke);
  body.on('close', () => broke(failed('reset', 'the connection broke', true)));
  if (held === undefined) {
    body.pause();
  }

  return {
    whole,
    stream() {
      const made = new PassThrough();
      client = made;
      made.on('error', () => undefined);
      made.on('drain', () => body.resume());
      made.on('close', () => {
        // The client left before the end: only what is known to be kept goes on.
        if (over === undefined && (held === undefined || announced === undefined)) {
          body.destroy();
        }
      });
      for (const chunk of held ?? before) {
        made.write(chunk);
      }
      before = [];
      if (over === 'ended') {
        made.end();
      } else if (over !== undefined) {
        made.destroy(over);
      } else if (held !== undefined || !made.writableNeedDrain) {
        body.resume();
      }
      return made;
    },
    drop() {
      if (over === undefined) {
        release();
        resolve(undefined);
        body.destroy();
      }
    },
  };
}
