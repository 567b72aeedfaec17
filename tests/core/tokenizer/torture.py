"""Text that shows where a tokenizer goes wrong."""

from __future__ import annotations

LINES = {
    "apostrophes": "It's a test: we'll see, I'm sure; THEY'RE o'clock don't Don'T 'tis 's 'S 'LL",
    "digits": "1 12 123 1234 12345 123456 1234567 3.14 1,000,000 0xFF \u00bd \u00b2 ٣٤٥ ३४५ \u2167",
    "runs of blanks": "  two   three    four     five\t tab\t\ttabs \n \n\n\n  \n\n end   ",
    "line ends": "one\r\ntwo\r\n\r\nthree\rfour  \r\n",
    "emoji": "\U0001f680 \U0001f636\u200d\U0001f32b\ufe0f \U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea ✅ ❤\ufe0f",
    "Chinese": "中文测试，我想在apple工作1314151天～ ㄅㄆㄇ",
    "Japanese": "日本語のテスト：カタカナ、ひらがな。",
    "Korean": "한국어 시험 문장입니다.",
    "Arabic": "العربية: هذا نص للاختبار، مع أرقام ١٢٣ وعلامات؟",
    "Arabic with vowels": "مُشَكَّل",
    "Devanagari": "यह एक परीक्षण है, क्षत्रिय ज्ञान।",
    "Thai and Khmer": "ไทยภาษา ភាសាខ្មែរ",
    "accents": "naïve café Straße ÀÉÎ Ελληνικά Русский язык עברית",
    "combining marks": "e\u0301 a\u0323\u0308 o\u0302",
    "code": "def f(x):\n    return x**2 - 1  # note\n\tif (a != b) && c->d[0] == '\\n': {\"k\": [1, 2]}\n",
    "punctuation": "http://a.com/b?q=1&r=2#c u@mail.org C:\\dir $100 €50 100% <tag/> ----==== ''``\"\"...!!!???",
    "cases": "CamelCaseWords andSnake_case ALLCAPS iPhone HTTPServer x1y2z3",
    "control characters": "\x01\x02\x7f \u200b\u200d\ufeff \u00a0no\u3000wide \u2028line \x0b\x0c",
    "one line end": "\n",
    "one blank": " ",
    "two blanks": "  ",
    "nothing": "",
}
