/**
 * HTTP header fields as they came: lines in their order, names in their spelling. Looked up without regard
 * to case. Repeated lines are never joined but where a caller asks for the list.
 *
 * Source: RFC 9110 §5.
 */
export type Fields = readonly (readonly [name: string, value: string])[];

/** Field lines from the flat list Node gives as `rawHeaders`. */
export function fieldsOf(raw: readonly string[]): Fields {
  const lines: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    lines.push([raw[at] as string, raw[at + 1] as string]);
  }
  return lines;
}

/** The flat list Node takes. */
export function rawOf(fields: Fields): string[] {
  return fields.flat();
}

/** The first line's value of this name, or undefined. */
export function field(fields: Fields, name: string): string | undefined {
  const wanted = name.toLowerCase();
  return fields.find(([each]) => each.length === wanted.length && each.toLowerCase() === wanted)?.[1];
}

/** All lines of this name joined by commas, as a list field is read; undefined where there is none. */
export function joined(fields: Fields, name: string): string | undefined {
  const wanted = name.toLowerCase();
  let all: string | undefined;
  for (const [each, value] of fields) {
    if (each.length === wanted.length && each.toLowerCase() === wanted) {
      all = all === undefined ? value : `${all}, ${value}`;
    }
  }
  return all;
}

/** The fields without those named, in lower case. */
export function without(fields: Fields, ...names: readonly string[]): Fields {
  return fields.filter(([name]) => !names.includes(name.toLowerCase()));
}

/** The fields with one line of this name and value in place of all that were there. */
export function withField(fields: Fields, name: string, value: string): Fields {
  return [...without(fields, name.toLowerCase()), [name, value]];
}

/** Members of a comma-separated list outside quotes, trimmed, empty ones left out. */
export function listOf(value: string | undefined): readonly string[] {
  if (value === undefined) {
    return [];
  }
  const members: string[] = [];
  let quoted = false;
  let from = 0;
  for (let at = 0; at <= value.length; at++) {
    const sign = value[at];
    if (sign === '\\' && quoted) {
      at += 1;
    } else if (sign === '"') {
      quoted = !quoted;
    } else if (sign === undefined || (sign === ',' && !quoted)) {
      const member = value.slice(from, at).trim();
      if (member !== '') {
        members.push(member);
      }
      from = at + 1;
    }
  }
  return members;
}
