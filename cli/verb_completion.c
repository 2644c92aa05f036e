/* cmc completion: scripts for shells, made from the tables of verbs and options. */
#include "cli/cli.h"

#include <string.h>

static void print_option(const OptionRow *row)
{
    for (const char *c = row->name; *c; c++)
        putchar(*c == '_' ? '-' : *c);
}

static void print_bash(void)
{
    printf("_cmc() {\n  local word=\"${COMP_WORDS[COMP_CWORD]}\" verb=\"${COMP_WORDS[1]}\"\n"
           "  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W \"help");
    for (int i = 0; i < VERB_COUNT; i++)
        printf(" %s", verbs[i].name);
    printf("\" -- \"$word\"))\n    return\n  fi\n  local options=\n  case \"$verb\" in\n");
    for (int i = 0; i < VERB_COUNT; i++) {
        printf("    %s) options=\"", verbs[i].name);
        for (int k = 0; k < option_count; k++) {
            if (!(option_rows[k].verbs & (1u << i)))
                continue;
            printf(" --");
            print_option(&option_rows[k]);
        }
        printf("\" ;;\n");
    }
    printf("  esac\n  case \"$word\" in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
           "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n  esac\n}\ncomplete -o filenames -F _cmc cmc\n");
}

/* Single quotes end, are escaped and begin again, in zsh and fish as in sh. */
static void print_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++)
        printf(*text == '\'' ? "'\\''" : "%c", *text);
    putchar('\'');
}

static void print_fish(void)
{
    for (int i = 0; i < VERB_COUNT; i++) {
        printf("complete -c cmc -n __fish_use_subcommand -a %s -d ", verbs[i].name);
        print_quoted(verbs[i].summary);
        putchar('\n');
    }
    for (int i = 0; i < VERB_COUNT; i++) {
        for (int k = 0; k < option_count; k++) {
            const OptionRow *row = &option_rows[k];
            if (!(row->verbs & (1u << i)))
                continue;
            printf("complete -c cmc -n '__fish_seen_subcommand_from %s' -l ", verbs[i].name);
            print_option(row);
            if (row->letter)
                printf(" -s %c", row->letter);
            printf(row->value ? " -r -d " : " -d ");
            print_quoted(row->help);
            putchar('\n');
        }
    }
}

/* In a zsh specification a colon or a bracket inside a description is escaped. */
static void print_zsh_help(const char *text)
{
    for (; *text; text++) {
        if (strchr(":[]", *text))
            putchar('\\');
        printf(*text == '\'' ? "'\\''" : "%c", *text);
    }
}

static void print_zsh(void)
{
    printf("#compdef cmc\n_cmc() {\n  if (( CURRENT == 2 )); then\n    local -a verbs=(\n");
    for (int i = 0; i < VERB_COUNT; i++) {
        printf("      '%s:", verbs[i].name);
        print_zsh_help(verbs[i].summary);
        printf("'\n");
    }
    printf("    )\n    _describe verb verbs\n    return\n  fi\n  case $words[2] in\n");
    for (int i = 0; i < VERB_COUNT; i++) {
        printf("    %s) _arguments", verbs[i].name);
        for (int k = 0; k < option_count; k++) {
            const OptionRow *row = &option_rows[k];
            if (!(row->verbs & (1u << i)))
                continue;
            printf(" '--");
            print_option(row);
            printf("%s[", row->value ? "=" : "");
            print_zsh_help(row->help);
            printf("]%s'", row->value ? ":value:_files" : "");
        }
        printf(" '*:file:_files' ;;\n");
    }
    printf("  esac\n}\ncompdef _cmc cmc\n");
}

int verb_completion(const Options *options)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    const char *wanted = options->operands.items[0];
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shells[i].name, wanted) != 0)
            continue;
        shells[i].print();
        return STATUS_DONE;
    }
    return usage_error("completion takes one of bash, zsh, fish, not '%s'", wanted);
}
