import { createRequire } from 'node:module';
import type { ValidateFunction } from 'ajv';
import type { Ajv2020 } from 'ajv/dist/2020.js';
import type { FieldError } from '../../lib/errors.ts';
import { isObject, type Json, type JsonObject } from './pointer.ts';
import { compileTemplate, type Template } from './template.ts';

/** What an OpenAPI document says about one operation. */
export interface Described {
  /** Statuses of success it names, lowest first. */
  readonly successes: readonly number[];
  /** Mistakes of a body of this media type: none where nothing is said; undefined where the type is none it takes. */
  bodyMistakes(mediaType: string, body: Json): readonly FieldError[] | undefined;
  readonly needsBody: boolean;
  /** Whether it is only for who names credentials. */
  readonly needsCredentials: boolean;
  /** Whether a body may be what is answered under this status; true where nothing is said. */
  fits(status: number, body: Json): boolean;
  /** Members of an answered item that only the service sets, and those it always has. */
  readonly readOnly: readonly string[];
}

export interface ApiDocument {
  /** `path` is below the service, with or without a query. */
  describe(method: string, path: string): Described | undefined;
}

const root = 'urn:kos:document';

/** Reads a parsed OpenAPI 3 document; what is odd in it is passed over, never thrown. */
export function openDocument(document: unknown): ApiDocument {
  const paths = member(document, 'paths');
  const templates: { readonly template: Template; readonly text: string }[] = Object.keys(
    isObject(paths) ? paths : {},
  )
    .filter(text => text.startsWith('/'))
    // A literal step comes before a named one.
    .sort((a, b) => count(a) - count(b))
    .map(text => ({ template: compileTemplate(text), text }));
  const described = new Map<string, Described | undefined>();
  let ajv: Ajv2020 | undefined;
  const validators = new Map<string, ValidateFunction | undefined>();

  /** A schema that cannot be compiled says nothing. */
  function validator(pointer: string): ValidateFunction | undefined {
    return validators.getOrInsertComputed(pointer, () => {
      try {
        // A fragment of a URI: braces and the like are encoded in it.
        const fragment = pointer.split('/').map(encodeURIComponent).join('/');
        ajv ??= compilerOf(document as object);
        return ajv.compile({ $ref: `${root}#${fragment}` });
      } catch {
        return undefined;
      }
    });
  }

  function describe(method: string, text: string): Described | undefined {
    const at = `/paths/${escaped(text)}/${method.toLowerCase()}`;
    const operation = resolved(at);
    if (operation === undefined) {
      return undefined;
    }
    const responses = resolved(`${operation.at}/responses`);
    const successes = Object.keys(responses?.value ?? {})
      .filter(status => /^2\d\d$/.test(status))
      .map(Number)
      .sort((a, b) => a - b);
    const body = resolved(`${operation.at}/requestBody`);
    const answerSchema = (status: number) => {
      const response = resolved(`${responses?.at}/${status}`) ?? resolved(`${responses?.at}/default`);
      return response === undefined ? undefined : schemaAt(response.at, 'application/json');
    };
    const answered = successes[0] === undefined ? undefined : answerSchema(successes[0]);
    const item = answered === undefined ? undefined : resolved(answered)?.value;
    return {
      successes,
      needsBody: member(body?.value, 'required') === true,
      needsCredentials: isSecured(member(operation.value, 'security') ?? member(document, 'security')),
      bodyMistakes(mediaType, value) {
        if (body === undefined || !isObject(member(body.value, 'content'))) {
          return [];
        }
        const schema = schemaAt(body.at, mediaType);
        if (schema === undefined) {
          return hasType(body.value, mediaType) ? [] : undefined;
        }
        const check = validator(schema);
        if (check === undefined || check(value)) {
          return [];
        }
        return (check.errors ?? []).slice(0, 32).map(error => ({
          pointer: error.instancePath,
          detail: error.message ?? 'does not fit',
        }));
      },
      fits(status, value) {
        const schema = answerSchema(status);
        const check = schema === undefined ? undefined : validator(schema);
        return check === undefined || check(value) === true;
      },
      readOnly: Object.entries(
        isObject(member(item, 'properties')) ? (member(item, 'properties') as JsonObject) : {},
      )
        .filter(([, schema]) => member(schema, 'readOnly') === true)
        .map(([name]) => name),
    };
  }

  function schemaAt(at: string, mediaType: string): string | undefined {
    const content = resolved(`${at}/content`)?.value;
    const type = Object.keys(content ?? {}).find(
      name => name.split(';')[0]?.trim().toLowerCase() === mediaType,
    );
    const pointer = type === undefined ? undefined : `${at}/content/${escaped(type)}/schema`;
    return pointer !== undefined && look(document, pointer) !== undefined ? pointer : undefined;
  }

  /** An object of the document and where it stands, references followed. */
  function resolved(
    pointer: string,
    depth = 0,
  ): { readonly value: JsonObject; readonly at: string } | undefined {
    const value = look(document, pointer);
    const ref = member(value, '$ref');
    if (typeof ref === 'string') {
      return ref.startsWith('#/') && depth < 16 ? resolved(ref.slice(1), depth + 1) : undefined;
    }
    return isObject(value) ? { value, at: pointer } : undefined;
  }

  return {
    describe(method, path) {
      const found = templates.find(({ template }) => template.match(path) !== undefined)?.text;
      return found === undefined
        ? undefined
        : described.getOrInsertComputed(`${method} ${found}`, () => describe(method, found));
    },
  };
}

/** Loaded with the first body that is looked at: most of the time a hub has none. */
function compilerOf(document: object): Ajv2020 {
  const loaded = createRequire(import.meta.url)('ajv/dist/2020.js') as { readonly Ajv2020: typeof Ajv2020 };
  const ajv = new loaded.Ajv2020({
    strict: false,
    allErrors: true,
    validateFormats: true,
    validateSchema: false,
    logger: false,
  });
  ajv.addFormat('uuid', /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i);
  ajv.addFormat('date-time', {
    type: 'string',
    validate: text => dateTime.test(text) && !Number.isNaN(Date.parse(text)),
  });
  ajv.addFormat('date', {
    type: 'string',
    validate: text => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)),
  });
  ajv.addSchema(document, root);
  return ajv;
}

const dateTime = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/;

function count(text: string): number {
  return text.split('{').length;
}

/** One alternative without any scheme lets everybody in. Source: OpenAPI 3.1 §4.8.30. */
function isSecured(security: Json | undefined): boolean {
  return (
    Array.isArray(security) &&
    security.length > 0 &&
    (security as readonly Json[]).every(each => isObject(each) && Object.keys(each).length > 0)
  );
}

function hasType(body: unknown, mediaType: string): boolean {
  const content = member(body, 'content');
  return Object.keys(isObject(content) ? content : {}).some(name => {
    const type = name.split(';')[0]?.trim().toLowerCase() ?? '';
    return (
      type === mediaType || type === '*/*' || (type.endsWith('/*') && mediaType.startsWith(type.slice(0, -1)))
    );
  });
}

function member(value: unknown, name: string): Json | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

function look(document: unknown, pointer: string): Json | undefined {
  let at = document as Json | undefined;
  for (const name of pointer.split('/').slice(1)) {
    at = member(at, name.replaceAll('~1', '/').replaceAll('~0', '~'));
  }
  return at;
}
