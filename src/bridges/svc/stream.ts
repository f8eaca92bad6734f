import { type Fields, field } from '../../gateway/replicas/fields.ts';

/** Whether an answer is an endless one by its media type. */
export function mediaTypeIsStream(headers: Fields): boolean {
  return /^\s*text\/event-stream\b/i.test(field(headers, 'content-type') ?? '');
}
