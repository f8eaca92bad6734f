/**
 * HTTP dates: the three forms there are, strictly, and nothing else.
 *
 *     Sun, 06 Nov 1994 08:49:37 GMT    IMF-fixdate
 *     Sunday, 06-Nov-94 08:49:37 GMT   RFC 850
 *     Sun Nov  6 08:49:37 1994         asctime
 *
 * Source: RFC 9110 §5.6.7.
 */
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const time = '(\\d{2}):(\\d{2}):(\\d{2})';
const month = `(${months.join('|')})`;
const fixdate = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\\d{2}) ${month} (\\d{4}) ${time} GMT$`);
const rfc850 = new RegExp(
  `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\\d{2})-${month}-(\\d{2}) ${time} GMT$`,
);
const asctime = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} (\\d{2}| \\d) ${time} (\\d{4})$`);

/** ms epoch of an HTTP date, or undefined where it is none. `now` tells which century two digits mean. */
export function parseDate(text: string | undefined, now = 0): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  const fixed = fixdate.exec(text);
  if (fixed !== null) {
    return at(fixed[3], fixed[2], fixed[1], fixed[4], fixed[5], fixed[6]);
  }
  const c = asctime.exec(text);
  if (c !== null) {
    return at(c[6], c[1], c[2], c[3], c[4], c[5]);
  }
  const old = rfc850.exec(text);
  if (old === null) {
    return undefined;
  }
  // More than 50 years ahead means the same digits in the past.
  const thisYear = new Date(now).getUTCFullYear();
  const year = thisYear - (thisYear % 100) + Number(old[3]);
  return at(String(year > thisYear + 50 ? year - 100 : year), old[2], old[1], old[4], old[5], old[6]);
}

/** An HTTP date in the form that is sent. */
export function formatDate(ms: number): string {
  return new Date(ms).toUTCString();
}

function at(...parts: (string | undefined)[]): number | undefined {
  const [year, name, day, hour, minute, second] = parts;
  const [y, d, h, m, s] = [year, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const ms = Date.UTC(y, months.indexOf(name ?? ''), d, h, m, Math.min(s, 59));
  const back = new Date(ms);
  const real = back.getUTCDate() === d && h < 24 && m < 60 && s <= 60;
  return real && back.getUTCFullYear() === y ? ms : undefined;
}
