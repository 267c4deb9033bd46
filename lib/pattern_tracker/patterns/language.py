"""A file's language by its name, or by the interpreter line where the name says nothing.

Names are lower case, as syntax highlighters and language servers use them, at most 50 characters.
Nothing is guessed from content beyond the interpreter line: a wrong language would give the
same code two identities.
"""

from __future__ import annotations

import posixpath

DEFAULT_LANGUAGE = "text"

_EXTENSIONS_OF = {
    "ada": "adb ads",
    "assembly": "asm s",
    "astro": "astro",
    "awk": "awk",
    "batch": "bat cmd",
    "c": "c h",
    "clojure": "clj cljs cljc edn",
    "cmake": "cmake",
    "coffeescript": "coffee",
    "cpp": "cpp cc cxx c++ hpp hh hxx h++ ipp tpp",
    "crystal": "cr",
    "csharp": "cs csx",
    "css": "css",
    "csv": "csv tsv",
    "cuda": "cu cuh",
    "cython": "pyx pxd pxi",
    "d": "d",
    "dart": "dart",
    "diff": "diff patch",
    "dockerfile": "dockerfile",
    "dotenv": "env",
    "elixir": "ex exs",
    "elm": "elm",
    "erlang": "erl hrl",
    "fortran": "f f90 f95 f03 for",
    "fsharp": "fs fsi fsx",
    "gdscript": "gd",
    "glsl": "glsl vert frag",
    "go": "go",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "haskell": "hs lhs",
    "hcl": "hcl tf tfvars nomad",
    "html": "html htm xhtml",
    "ini": "ini cfg conf properties editorconfig",
    "java": "java",
    "javascript": "js jsx mjs cjs",
    "jinja": "j2 jinja jinja2",
    "json": "json jsonc json5 jsonl ndjson geojson webmanifest",
    "julia": "jl",
    "kotlin": "kt kts",
    "latex": "tex sty cls bib",
    "less": "less",
    "lisp": "lisp lsp cl el",
    "lua": "lua",
    "makefile": "mk mak",
    "markdown": "md markdown mdx",
    "matlab": "m",
    "nim": "nim nims",
    "nix": "nix",
    "notebook": "ipynb",
    "objective-c": "mm",
    "ocaml": "ml mli",
    "pascal": "pas pp",
    "perl": "pl pm t",
    "php": "php phtml",
    "powershell": "ps1 psm1 psd1",
    "prisma": "prisma",
    "prolog": "pro",
    "protobuf": "proto",
    "python": "py pyi pyw",
    "r": "r rmd",
    "racket": "rkt",
    "restructuredtext": "rst",
    "ruby": "rb rake gemspec",
    "rust": "rs",
    "sass": "sass",
    "scala": "scala sc sbt",
    "scheme": "scm ss",
    "scss": "scss",
    "shell": "sh bash zsh ksh fish bats",
    "solidity": "sol",
    "sql": "sql ddl",
    "starlark": "bzl star",
    "svelte": "svelte",
    "swift": "swift",
    "tcl": "tcl",
    "thrift": "thrift",
    "toml": "toml",
    "typescript": "ts tsx mts cts",
    "vala": "vala",
    "verilog": "v sv svh",
    "vhdl": "vhd vhdl",
    "vim": "vim",
    "visual-basic": "vb vbs",
    "vue": "vue",
    "wasm": "wat",
    "xml": "xml xsd xsl xslt svg plist csproj",
    "yaml": "yaml yml",
    "zig": "zig",
}

_NAMES_OF = {
    "cmake": "cmakelists.txt",
    "dockerfile": "dockerfile containerfile",
    "dotenv": ".env .envrc",
    "go": "go.mod go.sum",
    "groovy": "jenkinsfile",
    "ini": ".gitconfig .npmrc .editorconfig",
    "json": ".babelrc .eslintrc .prettierrc",
    "makefile": "makefile gnumakefile justfile",
    "ruby": "gemfile rakefile vagrantfile brewfile podfile",
    "shell": ".bashrc .bash_profile .profile .zshrc .zprofile .zshenv pkgbuild",
    "starlark": "build build.bazel workspace tiltfile",
    "toml": "pipfile cargo.lock poetry.lock uv.lock",
    "vim": ".vimrc",
}

# By interpreter, without the version at its end.
_INTERPRETERS_OF = {
    "awk": "awk gawk mawk",
    "javascript": "node nodejs bun",
    "julia": "julia",
    "lua": "lua luajit",
    "makefile": "make",
    "perl": "perl",
    "php": "php",
    "powershell": "pwsh",
    "python": "python pypy uv",
    "r": "rscript",
    "ruby": "ruby",
    "shell": "sh bash dash zsh ksh ash fish busybox bats",
    "tcl": "tclsh wish",
    "typescript": "deno ts-node tsx",
}


def _inverted(table: dict[str, str]) -> dict[str, str]:
    return {key: language for language, keys in table.items() for key in keys.split()}


_BY_EXTENSION = _inverted(_EXTENSIONS_OF)
_BY_NAME = _inverted(_NAMES_OF)
_BY_INTERPRETER = _inverted(_INTERPRETERS_OF)

# Longer first lines are not interpreter lines (the kernel itself stops at 256 bytes).
_MAX_SHEBANG = 256


def language_of(path: str, content: str | None = None) -> str:
    """The language of the file at `path`; `content` is looked at only for `#!`.

    Returns "text" where neither says anything.
    """
    name = posixpath.basename(path.replace("\\", "/")).lower()
    by_name = _BY_NAME.get(name) or _by_extension(name)
    return by_name or _by_shebang(content or "") or DEFAULT_LANGUAGE


def _by_extension(name: str) -> str | None:
    stem, dot, extension = name.rpartition(".")
    if dot and extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    # `.env.local`, `Dockerfile.dev`: the kind comes first, the variant last.
    return _BY_NAME.get(stem) if stem in {".env", "dockerfile", "makefile", "jenkinsfile"} else None


def _by_shebang(content: str) -> str | None:
    if not content.startswith("#!"):
        return None
    words = content[2:_MAX_SHEBANG].split("\n", 1)[0].split()
    names = [
        posixpath.basename(word) for word in words if not word.startswith("-") and "=" not in word
    ]
    if names and names[0] == "env":
        names = names[1:]
    return _BY_INTERPRETER.get(names[0].rstrip("0123456789.").lower()) if names else None
