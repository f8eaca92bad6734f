import { globSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { type FieldError, GatewayError } from '../../lib/errors.ts';
import { crossMistakes, definitionSchema, type ReplicaDefinition } from './definition.ts';
import { operationsOf } from './policy.ts';

/** Definitions a hub takes. */
export const mostReplicas = 64;
/** Bytes of a definition, and of an OpenAPI document. */
const largestDefinition = 1024 * 1024;
const largestDocument = 8 * 1024 * 1024;

/** Reads one definition file. Throws `config/invalid` with every mistake at once, each with its path. */
export function readDefinition(file: string): ReplicaDefinition {
  const raw = readMapping(file, largestDefinition);
  const result = definitionSchema.safeParse(raw, { reportInput: true });
  const mistakes: FieldError[] = [
    ...(result.success ? [] : result.error.issues.flatMap(describeIssue)),
    ...crossMistakes(raw),
  ];
  const base = dirname(resolve(file));
  let document: unknown;
  const name = (raw.openapi as { document?: unknown } | undefined)?.document;
  if (typeof name === 'string') {
    try {
      document = readMapping(resolve(base, name), largestDocument);
      mistakes.push(...unknownOperations(raw, document));
    } catch (error) {
      mistakes.push({ pointer: 'openapi.document', detail: (error as Error).message });
    }
  } else {
    mistakes.push(...unknownOperations(raw, undefined));
  }
  if (mistakes.length > 0 || !result.success) {
    throw new GatewayError('config/invalid', `${mistakes.length} mistake(s) in ${file}`, {
      errors: mistakes,
    });
  }
  const { title, ...rest } = result.data;
  return {
    ...rest,
    title: title ?? rest.id,
    file: resolve(file),
    ...(document !== undefined && { document }),
  };
}

/**
 * Reads every definition a glob names, in the order of their files. Throws `config/invalid` with the mistakes of all
 * of them, or where two have the same id.
 */
export function readDefinitions(glob: string): readonly ReplicaDefinition[] {
  const files = globSync(glob).sort();
  const mistakes: FieldError[] = [];
  const definitions: ReplicaDefinition[] = [];
  if (files.length > mostReplicas) {
    mistakes.push({ pointer: glob, detail: `${files.length} definitions: at most ${mostReplicas}` });
  }
  for (const file of files.slice(0, mostReplicas)) {
    try {
      const definition = readDefinition(file);
      const other = definitions.find(({ id }) => id === definition.id);
      if (other !== undefined) {
        mistakes.push({
          pointer: `${file}: id`,
          detail: `"${definition.id}" is wrong: ${other.file} has it too`,
        });
      }
      definitions.push(definition);
    } catch (error) {
      if (!(error instanceof GatewayError)) {
        throw error;
      }
      mistakes.push(
        ...error.errors.map(each => ({ pointer: `${file}: ${each.pointer}`, detail: each.detail })),
      );
    }
  }
  if (mistakes.length > 0) {
    throw new GatewayError('config/invalid', `${mistakes.length} mistake(s) in the replica definitions`, {
      errors: mistakes,
    });
  }
  return definitions;
}

function unknownOperations(raw: Readonly<Record<string, unknown>>, document: unknown): FieldError[] {
  const operations = operationsOf(document);
  const routes = Array.isArray(raw.routes) ? raw.routes : [];
  return routes.flatMap((route, at) => {
    const id = (route as { match?: { operationId?: unknown } } | null)?.match?.operationId;
    return typeof id === 'string' && !operations.has(id)
      ? [
          {
            pointer: `routes.${at}.match.operationId`,
            detail: `"${id}" is wrong: not in the OpenAPI document${document === undefined ? ', which is not given' : ''}`,
          },
        ]
      : [];
  });
}

function readMapping(file: string, most: number): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const detail = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw mistake(`cannot read ${file}: ${detail}`, [{ pointer: file, detail }], cause);
  }
  if (text.length > most) {
    throw mistake(`${file} is too large`, [{ pointer: file, detail: `at most ${most} characters` }]);
  }
  const parsed = parseDocument(text, { uniqueKeys: true });
  if (parsed.errors.length > 0) {
    const errors = parsed.errors.map(error => ({
      pointer: `line ${error.linePos?.[0].line ?? 1}`,
      detail: error.message.split('\n')[0] ?? error.message,
    }));
    throw mistake(`${file} is not YAML: ${errors[0]?.pointer}: ${errors[0]?.detail}`, errors);
  }
  let value: unknown;
  try {
    value = parsed.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    const detail = 'aliases such as *name are not taken: write the value out';
    throw mistake(`${file}: ${detail}`, [{ pointer: file, detail }], cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const detail = 'expected keys such as "version: 1" and "id:"';
    throw mistake(`${file} is no mapping of keys`, [{ pointer: file, detail }]);
  }
  return value as Record<string, unknown>;
}

function mistake(message: string, errors: readonly FieldError[], cause?: unknown): GatewayError {
  return new GatewayError('config/invalid', message, { errors, ...(cause !== undefined && { cause }) });
}

function describeIssue(issue: z.core.$ZodIssue): FieldError[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({ pointer: path === '' ? key : `${path}.${key}`, detail: 'no such key' }));
  }
  const text = JSON.stringify(issue.input);
  const shown = text !== undefined && text.length > 60 ? `${text.slice(0, 57)}…` : text;
  const said = shown === undefined ? 'missing' : `${shown} is wrong`;
  return [{ pointer: path === '' ? '(file)' : path, detail: `${said}: ${issue.message}` }];
}
