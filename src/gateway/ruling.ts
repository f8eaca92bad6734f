import type { Message, Priority } from './message.ts';
import type { RuleTemplate } from './route-rule.ts';
import { fill, readTemplate, type Template, type TemplateFacts } from './template.ts';

/**
 * What a rule said of a delivery that it made. It is kept with the delivery, so that an edit of the message is worded in
 * the same way, whatever became of the rule.
 */
export interface Ruling {
  readonly template?: RuleTemplate;
  readonly priority?: Priority;
}

/** Members of a message that a rule words anew; `without` are left out of it. */
export type Words = Partial<Pick<Message, 'text' | 'title' | 'type'>> & {
  readonly without?: readonly ['data'];
};

/** A template of a rule, read. */
export interface Wording {
  readonly text: Template;
  readonly title: Template | undefined;
  readonly type: string | undefined;
  readonly withoutData: boolean;
}

/** Characters of a title that a template makes. */
const longestTitle = 200;

/** Of a template that was checked when its rule was written; undefined where there is none. */
export function wordingOf(template: RuleTemplate | undefined): Wording | undefined {
  const text = read(template?.text);
  return text === undefined
    ? undefined
    : {
        text,
        title: read(template?.title),
        type: template?.type,
        withoutData: template?.withoutData === true,
      };
}

function read(source: string | undefined): Template | undefined {
  const found = source === undefined ? undefined : readTemplate(source);
  return found !== undefined && 'template' in found ? found.template : undefined;
}

export function wordsOf({ text, title: titled, type, withoutData }: Wording, facts: TemplateFacts): Words {
  const title = titled === undefined ? '' : fill(titled, facts).replace(/\s+/g, ' ').trim();
  return {
    text: fill(text, facts),
    ...(title === '' ? {} : { title: title.slice(0, longestTitle) }),
    ...(type === undefined ? {} : { type }),
    ...(withoutData ? { without: ['data'] as const } : {}),
  };
}

/**
 * What is said of a change where its message was worded anew: of an edit what the message would have said with what is new in
 * it, and of a redaction nothing but that it is one.
 */
export function wordsOfChange(
  wording: Wording,
  change: Message,
  target: Message | undefined,
  facts: Omit<TemplateFacts, 'message'>,
): Words {
  if (change.type === 'chat.redaction') {
    return { text: '', ...(wording.withoutData ? { without: ['data'] as const } : {}) };
  }
  const { text, title = target?.title, data = target?.data } = change;
  const { title: _title, data: _data, ...rest } = target ?? change;
  const message: Message = {
    ...rest,
    text,
    ...(title === undefined ? {} : { title }),
    ...(data === undefined ? {} : { data }),
  };
  return wordsOf(wording, { ...facts, message });
}
