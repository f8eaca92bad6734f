import { parentPort } from 'node:worker_threads';
import { codeOf } from '../errors.ts';
import { compress } from './compress.ts';
import { decompress } from './decompress.ts';
import type { Answer, Task } from './pool.ts';

/** The other side of pool.ts: takes one task at a time and gives bytes, or the code of what went wrong. */
parentPort?.on('message', (task: Task) => {
  let answer: Answer;
  try {
    answer = {
      bytes: task.limit === undefined ? compress(task.bytes) : decompress(task.bytes, { limit: task.limit }),
    };
  } catch (error) {
    answer = { code: codeOf(error), message: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(answer);
});
