/** A path template: `/notes/{id}` has one named part, a last `**` stands for any rest. */
export interface Template {
  readonly text: string;
  readonly names: readonly string[];
  /** Named parts of a path that it is made of, percent-decoded, or undefined where it is another path. The query is not looked at. */
  match(path: string): Readonly<Record<string, string>> | undefined;
}

const step = /^(?:\{[A-Za-z_][A-Za-z0-9_]*\}|[^{}*?#]*|\*\*)$/;

/** What is wrong with a template, or undefined. */
export function templateMistake(text: string): string | undefined {
  if (!text.startsWith('/')) {
    return 'begins with /';
  }
  const steps = text.slice(1).split('/');
  if (steps.some(part => !step.test(part))) {
    return 'steps are literal, {name}, or ** as the last; no query';
  }
  if (steps.slice(0, -1).includes('**')) {
    return '** only as the last step';
  }
  const names = namesOf(text);
  return new Set(names).size === names.length ? undefined : 'a name is used twice';
}

/** Compiles a template that has no mistake. */
export function compileTemplate(text: string): Template {
  const steps = text.slice(1).split('/');
  const open = steps.at(-1) === '**';
  const fixed = open ? steps.slice(0, -1) : steps;
  const names = namesOf(text);
  return {
    text,
    names,
    match(path) {
      const query = path.indexOf('?');
      const given = (query < 0 ? path : path.slice(0, query)).slice(1).split('/');
      if (open ? given.length < fixed.length : given.length !== fixed.length) {
        return undefined;
      }
      const params: Record<string, string> = {};
      for (const [at, wanted] of fixed.entries()) {
        const part = given[at] as string;
        if (wanted.startsWith('{')) {
          const value = decoded(part);
          if (value === undefined || value === '') {
            return undefined;
          }
          params[wanted.slice(1, -1)] = value;
        } else if (part !== wanted && decoded(part) !== wanted) {
          return undefined;
        }
      }
      return params;
    },
  };
}

function namesOf(text: string): string[] {
  return [...text.matchAll(/\{([^}]*)\}/g)].map(([, name]) => name as string);
}

function decoded(part: string): string | undefined {
  if (!part.includes('%')) {
    return part;
  }
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}
