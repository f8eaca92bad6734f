import type { Section } from './ini.ts';

/** What became of one thing that was found. */
export interface Finding {
  /** Such as `interface Default Interface` or `[reticulum] enable_transport`. */
  readonly what: string;
  /** What it is now, or why it was not taken. */
  readonly why: string;
}

/** What was taken and what was not, for people. */
export interface Findings {
  readonly taken: Finding[];
  readonly left: Finding[];
}

/** The keys of a section, read one by one; what is not asked for is told in the end. */
export class Keys {
  readonly #section: Section;
  readonly #title: string;
  readonly #findings: Findings;
  readonly #asked = new Set<string>();
  readonly #mistakes: string[] = [];

  constructor(section: Section, title: string, findings: Findings) {
    this.#section = section;
    this.#title = title;
    this.#findings = findings;
  }

  /** What the reference itself would not start with, in words. */
  get mistakes(): readonly string[] {
    return this.#mistakes;
  }

  has(key: string): boolean {
    return this.#section.values.has(key);
  }

  /** The first of the keys that is there. */
  text(...keys: readonly string[]): string | undefined {
    for (const key of keys) {
      this.#asked.add(key);
    }
    const found = keys.find(key => this.#section.values.has(key));
    const value = found === undefined ? undefined : this.#section.values.get(found);
    const text = typeof value === 'string' ? value : value?.join(', ');
    return text === '' || text === 'None' ? undefined : text;
  }

  list(key: string): readonly string[] | undefined {
    this.#asked.add(key);
    const value = this.#section.values.get(key);
    return value === undefined || value === '' ? undefined : typeof value === 'string' ? [value] : value;
  }

  /** As the reference reads them: yes, no, on, off, true, false, 1, 0. */
  yes(...keys: readonly string[]): boolean | undefined {
    const text = this.text(...keys)?.toLowerCase();
    if (text === undefined) {
      return undefined;
    }
    if (['yes', 'true', 'on', '1'].includes(text)) {
      return true;
    }
    if (['no', 'false', 'off', '0'].includes(text)) {
      return false;
    }
    this.refuse(keys[0] as string, `${text.slice(0, 40)} is neither yes nor no`);
    return undefined;
  }

  number(...keys: readonly string[]): number | undefined {
    const text = this.text(...keys);
    if (text === undefined) {
      return undefined;
    }
    const value = Number(text);
    if (!Number.isFinite(value)) {
      this.refuse(keys[0] as string, `${text.slice(0, 40)} is no number`);
      return undefined;
    }
    return value;
  }

  /** A key that means nothing here, and needs no word. */
  pass(...keys: readonly string[]): void {
    for (const key of keys) {
      this.#asked.add(key);
    }
  }

  /** A key is not taken. */
  leave(key: string, why: string): void {
    this.#asked.add(key);
    this.#findings.left.push({ what: `${this.#title}: ${key}`, why });
  }

  /** A key is not taken, and is a mistake in itself. */
  refuse(key: string, why: string): void {
    this.leave(key, why);
    this.#mistakes.push(`${key}: ${why}`);
  }

  /** Whatever nobody asked for is told. */
  end(why = 'there is no such thing here'): void {
    for (const key of this.#section.values.keys()) {
      if (!this.#asked.has(key)) {
        this.leave(key, why);
      }
    }
  }
}

/** The members that are not undefined. */
export function given<T>(object: Readonly<Record<string, T>>): Record<string, Exclude<T, undefined>> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Record<
    string,
    Exclude<T, undefined>
  >;
}
