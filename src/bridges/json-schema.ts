import { z } from 'zod';

export type Json = { [key: string]: unknown };

/** JSON Schema with everything that has an id moved to the document's components, which are `schemas`. */
export function jsonSchema(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const {
    $schema: _dialect,
    $defs = {},
    ...whole
  } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override({ zodSchema, jsonSchema: made }) {
      // What must not be there at all.
      if (zodSchema._zod.def.type === 'undefined') {
        made.not = {};
      }
    },
  }) as Json;
  Object.assign(
    schemas,
    Object.fromEntries(Object.entries($defs as Json).map(([id, one]) => [id, rewire(one)])),
  );
  const id = (whole as { id?: string }).id;
  if (id === undefined) {
    return rewire(whole) as Json;
  }
  schemas[id] = rewire(whole);
  return { $ref: `#/components/schemas/${id}` };
}

function rewire(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(rewire);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, member]) => !(key === 'id' && typeof member === 'string'))
      .map(([key, member]) => [
        key,
        key === '$ref' && typeof member === 'string'
          ? member.replace('#/$defs/', '#/components/schemas/')
          : key === 'pattern' && typeof member === 'string'
            ? portable(member)
            : rewire(member),
      ]),
  );
}

/** A pattern that regular expressions without Unicode classes understand too: those of Python, Go and many generators. */
function portable(pattern: string): string {
  return pattern.replaceAll('\\p{Cc}', '\\u0000-\\u001f\\u007f-\\u009f');
}
