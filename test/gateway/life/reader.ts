import type { HubName, World } from './world.ts';

/** An app that reads its inbox and goes on where it was, whatever became of the hub meanwhile. */
export class Reader {
  readonly got: string[] = [];
  readonly #world: World;
  readonly #hub: HubName;
  #cursor: string | undefined;
  #isReading = false;

  constructor(world: World, hub: HubName) {
    this.#world = world;
    this.#hub = hub;
  }

  read(limit: number): void {
    const { process } = this.#world.hubs[this.#hub];
    if (this.#isReading || process?.owner === undefined) {
      return;
    }
    this.#isReading = true;
    const from = this.#cursor;
    this.#world.ask(
      this.#hub,
      'read',
      one =>
        one.desk.inbox.read(this.#world.client(one, 'app'), {
          limit,
          ...(from !== undefined && { after: from }),
        }),
      {
        answered: ({ items, cursor }) => {
          this.#isReading = false;
          this.#cursor = cursor;
          this.got.push(...items.map(({ message }) => message.id));
          if (items.length > 0) {
            const words = items.map(({ message }) => JSON.stringify(message.text)).join(' ');
            this.#world.tell(`${this.#hub}: the app reads ${words}, up to ${cursor}`);
          }
        },
        refused: () => {
          this.#isReading = false;
        },
      },
    );
  }

  /** The hub has ended: it asks again. */
  lost(): void {
    this.#isReading = false;
  }
}
