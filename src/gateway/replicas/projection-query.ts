import type { Resource } from './definition.ts';
import { isObject, type Json, pointed } from './pointer.ts';

/** The items in an answer of a list, or undefined where it has none to show. */
export function rowsOf(json: Json | undefined, resource: Resource): readonly Json[] | undefined {
  const rows = pointed(json, resource.list.pointer);
  return Array.isArray(rows) ? (rows as readonly Json[]) : undefined;
}

/** Whether an answer of a list shows that there is no other page. */
export function isWhole(json: Json | undefined, resource: Resource): boolean {
  const { page, total } = resource.list;
  const rows = rowsOf(json, resource);
  if (rows === undefined) {
    return false;
  }
  const count = total === undefined ? undefined : pointed(json, total);
  if (page.next !== undefined) {
    const next = pointed(json, page.next);
    return next === undefined || next === null || next === '';
  }
  return typeof count === 'number' ? count <= rows.length : page.style === 'none';
}

/** Whether a query asks for the first page: new items are shown there. */
export function isFirstPage(query: URLSearchParams, resource: Resource): boolean {
  const { style, param } = resource.list.page;
  const at = param === undefined ? null : query.get(param);
  return at === null || at === '' || (style === 'offset' && at === '0') || (style === 'page' && at === '1');
}

/** What a query asks for, as a question about an item; undefined where a parameter of it is not declared. */
export function filterOf(query: URLSearchParams, resource: Resource): ((item: Json) => boolean) | undefined {
  const { page, filter } = resource.list;
  const questions: ((item: Json) => boolean)[] = [];
  for (const [name, value] of query) {
    if (name === page.param || name === page.size) {
      continue;
    }
    const declared = Object.hasOwn(filter, name) ? filter[name] : undefined;
    const [, pointer, verb] = /^(\S*) (equals|contains) \{value\}$/.exec(declared ?? '') ?? [];
    if (pointer === undefined) {
      return undefined;
    }
    questions.push(item => {
      const found = pointed(item, pointer);
      if (verb === 'equals') {
        return found !== undefined && !isObject(found) && String(found) === value;
      }
      return Array.isArray(found)
        ? found.some(each => String(each) === value)
        : typeof found === 'string' && found.includes(value);
    });
  }
  return item => questions.every(question => question(item));
}
