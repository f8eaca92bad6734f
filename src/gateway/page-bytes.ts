import type { Message } from './message.ts';

/** Bytes of words and data in one page of messages: two hundred of the largest would be fifty megabytes, in memory several times. */
export const pageBytes = 2 * 1024 * 1024;

/** How many of these one page shows, from the first on: one at least, so that whoever goes on comes to the end. */
export function fitting(messages: readonly (Message | undefined)[]): number {
  let bytes = 0;
  for (const [index, message] of messages.entries()) {
    bytes += message === undefined ? 0 : sizeOf(message);
    if (bytes > pageBytes && index > 0) {
      return index;
    }
  }
  return messages.length;
}

/** Characters of what a message says, about what it takes in memory. */
export function sizeOf({ text, title = '', data }: Message): number {
  return text.length + title.length + (data === undefined ? 0 : JSON.stringify(data).length);
}
