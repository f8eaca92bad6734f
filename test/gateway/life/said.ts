import type { MessageDraft, MessageView } from '../../../src/gateway/desk.ts';
import type { HubName, World } from './world.ts';

/** What a client wants said: it says it again under the same key until it has an answer. */
export interface Said {
  readonly key: string;
  readonly hub: HubName;
  readonly from: 'owner' | 'app';
  readonly draft: MessageDraft;
  /** Since when it is accepted. */
  id?: string;
  /** The hub will not have it. */
  refused?: string;
  isAsked: boolean;
  /** It was asked for before, perhaps of a room as it was then. */
  isOld?: boolean;
}

const refusals = ['request/not-found', 'request/forbidden', 'request/conflict'] as const;

/** Says something; `members` are those it must go to if it is accepted and nobody changes the room meanwhile. */
export function say(world: World, said: Said): void {
  const { hub, from, draft, key } = said;
  const society = world.societies[hub];
  const { process: before } = world.hubs[hub];
  if (said.isAsked || before?.owner === undefined) {
    return;
  }
  said.isAsked = true;
  const isFirst = said.isOld !== true;
  said.isOld = true;
  const room = /^room:(trio|den)$/.exec(draft.to)?.[1];
  const view = before.desk.rooms.list(before.owner).find(({ name }) => name === room);
  const was = { changes: society.changes, open: society.open };
  world.tell(
    `${hub}: ${from} says ${JSON.stringify(draft.text ?? draft.type)} to ${world.short(draft.to)} (${key})`,
  );
  world.ask(hub, 'say', process => process.desk.messages.post(world.client(process, from), draft, key), {
    codes: refusals,
    answered({ message }) {
      said.isAsked = false;
      said.id ??= message.id;
      world.tell(`${hub}: ${key} is accepted as ${world.short(message.id)}`);
      if (said.id !== message.id) {
        throw new Error(`${key} was accepted twice: ${said.id} ${message.id}`);
      }
      if (
        isFirst &&
        draft.inReplyTo === undefined &&
        was.open === 0 &&
        society.open === 0 &&
        was.changes === society.changes &&
        view !== undefined
      ) {
        const members = view.members.filter(one => one !== `app:${from}` && !society.isBlocked(one));
        reaches(message, members, key);
      }
    },
    refused(code) {
      said.isAsked = false;
      if (!code.startsWith('store/')) {
        said.refused = code;
      }
    },
  });
}

function reaches({ deliveries }: MessageView, members: readonly string[], key: string): void {
  const missing = members.filter(one => !deliveries.some(({ to }) => to === one));
  if (missing.length > 0) {
    throw new Error(`${key} does not go to ${missing.join(', ')}`);
  }
}
