import type { FastifyReply, FastifyRequest } from 'fastify';
import { sendProblem } from '../listener.ts';
import { jsonType } from './offer.ts';
import type { Answer, Route } from './route.ts';
import { isKnown, lastModified, tagOf } from './validator.ts';

/** Sends an answer, or says that its client knows it already. `now`: ms epoch; `hold` is told of the bytes that wait then, and may throw. */
export function send(
  one: Route,
  answer: Answer,
  request: FastifyRequest,
  reply: FastifyReply,
  { now, hold }: { readonly now: number; readonly hold: (bytes: number) => void },
): void {
  const { vary, ...headers } = answer.headers ?? {};
  reply.code(answer.status).headers(headers);
  if (vary !== undefined) {
    reply.header('vary', [reply.getHeader('vary') ?? [], vary].flat().join(', '));
  }
  if (answer.error !== undefined) {
    sendProblem(reply, answer.error, answer.status);
    return;
  }
  if (answer.json === undefined) {
    if (typeof answer.body === 'string') {
      hold(answer.body.length);
    }
    reply.send(request.method === 'HEAD' ? undefined : answer.body);
    return;
  }
  const text = JSON.stringify(answer.json);
  if (!reply.hasHeader('content-type')) {
    reply.header('content-type', `${jsonType}; charset=utf-8`);
  }
  if (one.method === 'GET' && answer.status === 200 && !one.live) {
    const tag = answer.headers?.etag ?? tagOf(text);
    const modified = lastModified(answer.changed, now);
    reply.header('etag', tag);
    if (modified !== undefined) {
      reply.header('last-modified', modified);
    }
    if (isKnown(request.headers, tag, modified)) {
      reply.code(304).removeHeader('content-type').send();
      return;
    }
  }
  if (request.method === 'HEAD') {
    reply.header('content-length', Buffer.byteLength(text)).send();
    return;
  }
  hold(text.length);
  reply.send(text);
}
