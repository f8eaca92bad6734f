/** What came, in order, for one reader that may wait for it. */
export interface Mailbox<T> {
  readonly size: number;
  push(item: T): void;
  take(): Promise<T>;
}

export function createMailbox<T>(): Mailbox<T> {
  const items: T[] = [];
  let waiting: ((item: T) => void) | undefined;
  return {
    get size() {
      return items.length;
    },
    push(item) {
      const give = waiting;
      waiting = undefined;
      if (give === undefined) {
        items.push(item);
      } else {
        give(item);
      }
    },
    take: () =>
      items.length > 0
        ? Promise.resolve(items.shift() as T)
        : new Promise(resolve => {
            waiting = resolve;
          }),
  };
}
