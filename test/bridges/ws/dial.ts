import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { type ClientOptions, WebSocket } from 'ws';
import { asyncapiPath } from '../../../tools/asyncapi.ts';
import type { TestGateway } from '../gateway.ts';

// biome-ignore lint/suspicious/noExplicitAny: frames are looked at, not used.
export type Frame = any;

const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema(JSON.parse(readFileSync(asyncapiPath, 'utf8')), 'asyncapi');

/** Fails unless the frame is what the AsyncAPI document says of its kind. Every frame of the hub in every test is asked. */
export function assertDescribed(frame: Frame, from: 'hub' | 'client' = 'hub'): void {
  const check = ajv.compile({ $ref: `asyncapi#/components/messages/ws.${from}.${frame.op}/payload` });
  assert.ok(check(frame), `${JSON.stringify(frame)}: ${ajv.errorsText(check.errors)}`);
}

/** A client as anybody would write one. */
export interface Socket extends Disposable {
  readonly ws: WebSocket;
  say(frame: unknown): void;
  /** The next frame for which the check holds; those before it are dropped. */
  until(check: (frame: Frame) => boolean): Promise<Frame>;
  /** The code the hub closed with. */
  closed(): Promise<number>;
}

export function dial(
  gateway: TestGateway,
  headers: Record<string, string> = {},
  options: ClientOptions = {},
): Socket {
  const ws = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/ws`, { ...options, headers });
  const frames: Frame[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<number>();
  let wake = () => {};
  let gone = false;
  ws.on('message', data => {
    const frame = JSON.parse(data.toString());
    assertDescribed(frame);
    frames.push(frame);
    wake();
  });
  ws.on('error', () => {});
  ws.on('close', code => {
    gone = true;
    resolve(code);
    wake();
  });
  const open = once(ws, 'open').catch(() => {});
  return {
    ws,
    say: frame => void open.then(() => ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame))),
    async until(check) {
      for (;;) {
        while (frames.length > 0) {
          const frame = frames.shift();
          if (check(frame)) {
            return frame;
          }
        }
        assert.equal(gone, false, 'the socket closed while a frame was awaited');
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
    closed: () => closed,
    [Symbol.dispose]: () => ws.terminate(),
  };
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
export const isHello = (frame: Frame) => frame.op === 'hello';
export const isError = (frame: Frame) => frame.op === 'error';
export const isAck = (frame: Frame) => frame.op === 'ack';
export const isMessage = (frame: Frame) => frame.op === 'event' && frame.kind === 'message.accepted';
