import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { htmlOfText, textOfHtml } from '../../../src/bridges/matrix/html.ts';

const cases: readonly (readonly [what: string, html: string, text: string])[] = [
  ['paragraphs', '<p>one</p><p>two</p>', 'one\n\ntwo'],
  ['line breaks', 'one<br>two<br/>three', 'one\ntwo\nthree'],
  ['emphasis', '<b>a</b> <em>b</em> <del>c</del> <code>d</code>', '**a** *b* ~~c~~ `d`'],
  [
    'lists in lists',
    '<ul><li>a<ol><li>b</li><li>c</li></ol></li><li>d</li></ul>',
    '- a\n  1. b\n  2. c\n- d',
  ],
  ['a quotation', '<blockquote>said<br>so</blockquote>no', '> said\n> so\nno'],
  ['code that keeps its lines', '<pre><code>if x:\n  y()</code></pre>', '```\nif x:\n  y()\n```'],
  ['a mention as its name', '<a href="https://matrix.to/#/@a:b">Alice</a>: hi', 'Alice: hi'],
  ['a link that is its own text', '<a href="https://a.example">https://a.example</a>', 'https://a.example'],
  ['a link that would run', '<a href="javascript:alert(1)">click</a>', 'click'],
  ['a quoted reply of old clients', '<mx-reply><blockquote>old</blockquote></mx-reply>new', 'new'],
  ['entities', '&lt;b&gt; &amp;amp; &#x1F6F0; &#0; &nosuch;', '<b> &amp; 🛰 \ufffd &nosuch;'],
  ['scripts and styles', 'a<script>x<y</script><style>b{}</style>b', 'ab'],
  ['tags that never end', 'a <b title="x>y', 'a **'],
  ['a comment', 'a<!-- b --><!-- c', 'a'],
  ['an emoji as an image', '<img alt=":cat:" src="mxc://x/y">', ':cat:'],
];

for (const [what, html, text] of cases) {
  test(`${what}: readable, and nothing of it is interpreted`, () => {
    assert.equal(textOfHtml(html), text);
  });
}

test('any text survives its way into HTML and back, but for its spaces', () => {
  const squeezed = (text: string) => text.replace(/\s+/g, ' ').trim();
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), text => {
      const plain = text.replace(/[\p{Cc}\u2028\u2029]/gu, ' ');
      assert.equal(squeezed(textOfHtml(htmlOfText(plain))), squeezed(plain));
    }),
  );
});

test('any text at all is read, and one that is made to take long takes no longer', () => {
  fc.assert(fc.property(fc.string({ maxLength: 400 }), html => typeof textOfHtml(html) === 'string'));
  for (const evil of [
    '<a '.repeat(20_000),
    '<'.repeat(60_000),
    '&#'.repeat(30_000),
    '<ul><li>'.repeat(8000),
    '<a href="'.repeat(7000),
  ]) {
    assert.ok(textOfHtml(evil).length < 1e6);
  }
});
