import { z } from 'zod';
import type { MessageDraft } from '../../../../gateway/desk.ts';
import type { Message, Priority } from '../../../../gateway/message.ts';
import { actionSchema } from './actions.ts';

const webAddress = z.string().max(2048);

/** What a notification has that a message has no member for: it travels as the message's data, and comes back from it. */
const extrasSchema = z.object({
  tags: z.array(z.string().max(256)).max(32).optional(),
  click: webAddress.optional(),
  icon: webAddress.optional(),
  actions: z.array(actionSchema).max(3).optional(),
  /** A file that lies elsewhere: it is named and not fetched. */
  attach: z.object({ name: z.string().max(255), url: webAddress }).optional(),
  markdown: z.boolean().optional(),
  /** Where ours tell fewer apart. */
  level: z.int().min(1).max(5).optional(),
  encoding: z.literal('base64').optional(),
  sequence: z.string().max(64).optional(),
});

export type Extras = z.output<typeof extrasSchema>;

/** A notification as ntfy's clients read it. Source: docs.ntfy.sh/subscribe/api, "JSON message format". */
export interface Note {
  readonly id: string;
  /** s since 1970 */
  readonly time: number;
  readonly expires?: number;
  readonly event: 'open' | 'keepalive' | 'message';
  readonly topic: string;
  readonly title?: string;
  readonly message?: string;
  readonly priority?: number;
  readonly tags?: readonly string[];
  readonly click?: string;
  readonly icon?: string;
  readonly actions?: Extras['actions'];
  readonly attachment?: {
    readonly name: string;
    readonly type?: string;
    readonly size?: number;
    readonly expires?: number;
    readonly url: string;
  };
  readonly content_type?: string;
  readonly encoding?: string;
  readonly sequence_id?: string;
}

/** What the text of a notification without one is. */
export const noWords = 'triggered';

const priorities: readonly Priority[] = ['bulk', 'bulk', 'normal', 'high', 'critical'];
const levels: Readonly<Record<Priority, number>> = { bulk: 2, normal: 3, high: 4, critical: 5 };

/** The priority of one of ntfy's levels, 1 to 5. */
export function priorityOf(level: number): Pick<MessageDraft, 'priority'> & Pick<Extras, 'level'> {
  const priority = priorities[level - 1] ?? 'normal';
  return { priority, ...(levels[priority] !== level && { level }) };
}

/** A message as a notification of a topic. `base` is where its files are found. */
export function noteOf(topic: string, message: Message, base: string): Note {
  const { data: extras = {} } = extrasSchema.safeParse(message.data ?? {});
  const { tags, click, icon, actions, attach, markdown, level, encoding, sequence } = extras;
  const time = Math.floor(message.acceptedAt / 1000);
  const expires = Math.floor(message.expiresAt / 1000);
  const priority = level ?? levels[message.priority];
  const [file] = message.attachments;
  const attachment =
    file === undefined
      ? attach
      : {
          name: file.name,
          type: file.mediaType,
          size: file.size,
          expires,
          url: `${base}/file/${message.id}${/\.[A-Za-z0-9]{1,16}$/.exec(file.name)?.[0] ?? ''}`,
        };
  return {
    id: message.id,
    time,
    expires,
    event: 'message',
    topic,
    ...(message.title !== undefined && { title: message.title }),
    message: message.text,
    ...(priority !== 3 && { priority }),
    ...(tags && tags.length > 0 && { tags }),
    ...(click !== undefined && { click }),
    ...(icon !== undefined && { icon }),
    ...(actions && actions.length > 0 && { actions }),
    ...(attachment !== undefined && { attachment }),
    ...(markdown === true && { content_type: 'text/markdown' }),
    ...(encoding !== undefined && { encoding }),
    ...(sequence !== undefined && { sequence_id: sequence }),
  };
}

/** What is no notification: who agrees with one, and that one was taken back. */
const silent: ReadonlySet<string> = new Set(['chat.reaction', 'chat.redaction', 'chat.receipt']);

/** Whether nobody is notified of it. */
export function isSilent({ type }: Pick<Message, 'type'>): boolean {
  return silent.has(type);
}
