import assert from 'node:assert/strict';
import type { Said, User } from './world.ts';

const marker = /marker-[0-9a-f]{16}/g;

/** How words came: an answer is judged by what one may see now, an event by whom the message went to. */
export type Way = 'answer' | 'event';

interface Heard {
  readonly user: User;
  readonly words: string;
  readonly where: string;
  readonly way: Way;
}

/**
 * Judges words that came to somebody, by the model alone: they are one's own, or of a message that one may see. Words come
 * to others before the model has heard that they were taken, so what is not known yet is put off until nothing is under way.
 */
export interface Oracle {
  /** Somebody sends these words, wherever they end. */
  wrote(by: User | 'owner', text: string): void;
  /** A message that was taken carries these words. */
  carries(message: Said, text: string): void;
  /** Throws when what came holds words, or a token, that are not for this user. */
  hears(user: User, text: string, where: string, way: Way): void;
  /** Judges what was put off. Nothing may be under way, and rights not have changed since. */
  judge(): void;
  /** Lets what was put off go. */
  forget(): void;
  /** Words that the message carries, if any. */
  wordsOf(message: Said): string | undefined;
}

export function createOracle(model: {
  readonly maySee: (user: User, message: Said) => boolean;
  readonly tokens: Readonly<Record<User, string>>;
}): Oracle {
  const authors = new Map<string, User | 'owner'>();
  const carriers = new Map<string, Said>();
  let putOff: Heard[] = [];

  function isFor({ user, words, way }: Heard): boolean | undefined {
    const message = carriers.get(words);
    if (authors.get(words) === user) {
      return true;
    }
    return (
      message &&
      (way === 'answer' ? model.maySee(user, message) : message.from === user || message.got.has(user))
    );
  }
  function crossed({ user, words, where }: Heard): string {
    return `${user} saw words of ${authors.get(words)} in ${where}: ${words} of ${shown(carriers.get(words))}`;
  }

  return {
    wrote(by, text) {
      for (const [words] of text.matchAll(marker)) {
        authors.set(words, by);
      }
    },
    carries(message, text) {
      for (const [words] of text.matchAll(marker)) {
        authors.set(words, message.from);
        carriers.set(words, message);
      }
    },
    hears(user, text, where, way) {
      for (const [name, token] of Object.entries(model.tokens)) {
        assert.ok(name === user || !text.includes(token), `${user} saw the token of ${name} in ${where}`);
      }
      for (const words of new Set(text.match(marker))) {
        const heard = { user, words, where, way };
        const verdict = isFor(heard);
        assert.ok(verdict !== false, crossed(heard));
        if (verdict === undefined) {
          putOff.push(heard);
        }
      }
    },
    judge() {
      const all = putOff;
      putOff = [];
      for (const heard of all) {
        assert.ok(isFor(heard) === true, crossed(heard));
      }
    },
    forget() {
      putOff = [];
    },
    wordsOf: message => carriers.entries().find(([, one]) => one === message)?.[0],
  };
}

export function shown(message: Said | undefined): string {
  return message === undefined ? 'nothing known' : JSON.stringify({ ...message, got: [...message.got] });
}
