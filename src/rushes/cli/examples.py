"""Examples for the help of every command; a test parses each of them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

EXAMPLES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "demo": (
            "rushes demo",
            "rushes demo --data-dir demo-data",
            "rushes demo --json | jq .credits",
        ),
        "init": (
            "rushes init",
            "rushes init campaign",
            "rushes init . --json",
        ),
        "run": (
            "rushes run prompts.csv --out videos",
            "rushes run prompts.txt --model veo-flash --aspect-ratio 9:16 --dry-run",
            'rushes run --template "A {style} shot of {what}" --var style=wide,close --var what=@list.txt',
            "rushes run --resume last --out videos",
            "jq -c .shots[] film.json | rushes run - --yes",
        ),
        "quote": (
            "rushes quote prompts.csv",
            "rushes quote prompts.txt --model veo-pro --json | jq .credits",
            'rushes quote --template "A {style} shot of a boat" --var style=wide,close',
        ),
        "batch list": (
            "rushes batch list",
            "rushes batch list --limit 100 --account acme",
            "rushes batch list --json | jq -r .data[0].batch_id",
        ),
        "batch show": (
            "rushes batch show last",
            "rushes batch show bat_1a2b --status failed",
            "rushes batch show last --items --json",
        ),
        "batch watch": (
            "rushes batch watch last",
            "rushes batch watch bat_1a2b",
            "rushes batch watch last --json > summary.json",
        ),
        "batch cancel": (
            "rushes batch cancel last",
            "rushes batch cancel bat_1a2b",
            "rushes batch cancel bat_1a2b --json",
        ),
        "batch retry": (
            "rushes batch retry last",
            "rushes batch retry bat_1a2b --item 3 7",
            "rushes batch retry last --json",
        ),
        "batch adopt": (
            "rushes batch adopt last-3 task_9f8e",
            "rushes batch adopt bat_1a2b-0 13-2b1c --account acme",
            "rushes batch adopt bat_1a2b-3 task_9f8e --json",
        ),
        "batch attempts": (
            "rushes batch attempts last 0",
            "rushes batch attempts bat_1a2b 12",
            "rushes batch attempts last 0 --json",
        ),
        "batch rerolls": (
            "rushes batch rerolls last",
            "rushes batch rerolls bat_1a2b",
            "rushes batch rerolls last --json",
        ),
        "batch download": (
            "rushes batch download last --out videos",
            'rushes batch download bat_1a2b --out videos --name "{model}/{index:03d}-{slug}.mp4"',
            "rushes batch download last --out /mnt/nas/film --parallel 16",
        ),
        "batch join": (
            "rushes batch join last --out film.mp4",
            "rushes batch join bat_1a2b --chain shot-6 --out film.mp4",
            "rushes batch join last --out film.mp4 --json",
        ),
        "batch export": (
            "rushes batch export last",
            "rushes batch export bat_1a2b --format csv --out items.csv",
            "rushes batch export last --format jsonl --out items.jsonl",
        ),
        "batch sheet": (
            "rushes batch sheet last",
            "rushes batch sheet bat_1a2b --out review.html",
            "rushes batch sheet last --json",
        ),
        "batch provenance": (
            "rushes batch provenance last",
            "rushes batch provenance bat_1a2b --out manifests --certificate chain.pem --key key.pem",
            "rushes batch provenance last --json",
        ),
        "batch judge": (
            "rushes batch judge last 0 accept",
            'rushes batch judge bat_1a2b 3 reject --reason "six fingers"',
            "rushes batch judge last 3 accept --score 0.8 --json",
        ),
        "batch verdicts": (
            "rushes batch verdicts last",
            "rushes batch verdicts bat_1a2b",
            "rushes batch verdicts last --json",
        ),
        "archive status": (
            "rushes archive status",
            "rushes archive status --json",
            "watch rushes archive status",
        ),
        "archive verify": (
            "rushes archive verify",
            "rushes archive verify --account acme",
            "rushes archive verify --json > verified.json",
        ),
        "archive prune": (
            "rushes archive prune --older-than 90d --dry-run",
            "rushes archive prune --older-than 30d --account acme",
            "rushes archive prune --json",
        ),
        "credits grant": (
            "rushes credits grant 500",
            'rushes credits grant 500 --account acme --description "invoice 17"',
            "rushes credits grant 50 --account acme --bonus --expires 30d",
        ),
        "credits balance": (
            "rushes credits balance",
            "rushes credits balance --account acme",
            "rushes credits balance --json | jq .available",
        ),
        "credits ledger": (
            "rushes credits ledger",
            "rushes credits ledger --account acme --limit 1000",
            "rushes credits ledger --json > ledger.json",
        ),
        "caps set": (
            "rushes caps set all --credits 5000",
            "rushes caps set account acme --credits 500",
            'rushes caps set model veo-pro --cost "20 USD"',
        ),
        "caps list": ("rushes caps list", "rushes caps list --json", "rushes caps list --json | jq .data"),
        "caps remove": (
            "rushes caps remove all",
            "rushes caps remove account acme",
            "rushes caps remove model veo-pro",
        ),
        "keys secret": (
            "rushes keys secret",
            'echo "RUSHES_WORKER_SECRET=$(rushes keys secret)" >> .env',
            "rushes keys secret | pbcopy",
        ),
        "keys judge": (
            "rushes keys judge",
            'ssh judge "echo JUDGE_SECRET=$(rushes keys judge) >> .env"',
            "rushes keys judge | pbcopy",
        ),
        "keys create": (
            "rushes keys create --account acme",
            "rushes keys create --account acme --name website --rate-limit-per-min 60",
            "rushes keys create --account acme --json | jq -r .key",
        ),
        "keys list": (
            "rushes keys list",
            "rushes keys list --account acme",
            "rushes keys list --json",
        ),
        "keys revoke": (
            "rushes keys revoke 7",
            "rushes keys revoke 7 --json",
            "rushes keys revoke 8",
        ),
        "operators create": (
            "rushes operators create mai",
            "rushes operators create li --role viewer",
            "rushes operators create jo --role owner --json",
        ),
        "operators list": (
            "rushes operators list",
            "rushes operators list --json",
            "rushes operators list | column -t",
        ),
        "operators revoke": (
            "rushes operators revoke mai",
            "rushes operators revoke li --json",
            "rushes operators revoke jo",
        ),
        "operators log": (
            "rushes operators log",
            "rushes operators log --limit 1000",
            "rushes operators log --json > actions.json",
        ),
        "providers list": (
            "rushes providers list",
            "rushes providers list --json",
            "rushes providers list | column -t",
        ),
        "providers pause": (
            "rushes providers pause grsai --reason 'every render is black'",
            "rushes providers pause fal --reason 'a price that was not announced'",
            "rushes providers pause grsai --reason 'maintenance' --json",
        ),
        "providers resume": (
            "rushes providers resume grsai",
            "rushes providers resume fal",
            "rushes providers resume grsai --json",
        ),
        "serve": (
            "rushes serve",
            "rushes serve --host 0.0.0.0 --port 80 --no-worker",
            "rushes serve --demo",
        ),
        "mcp": (
            "rushes mcp",
            "rushes mcp --credits-max 200 --out videos",
            "rushes mcp --account acme",
        ),
        "worker": (
            "rushes worker",
            "rushes worker --until-idle",
            "rushes worker --log-level info",
        ),
        "tick": (
            "rushes tick",
            "rushes tick --budget-seconds 50 --tasks-max 200",
            "rushes tick --json | jq .settle",
        ),
        "audit": (
            "rushes audit",
            "rushes audit --json > audit.json",
            "rushes audit --against audit.json",
        ),
        "audit statement": (
            "rushes audit statement last",
            "rushes audit statement bat_1a2b --out statement.json",
            "rushes audit statement last --json",
        ),
        "audit key": (
            "rushes audit key",
            "rushes audit key --json",
            "rushes audit key > public-key.txt",
        ),
        "audit anchor": (
            "rushes audit anchor --tsa https://freetsa.org/tsr",
            "rushes audit anchor statement.json --tsa https://freetsa.org/tsr",
            "rushes audit anchor --tsa https://freetsa.org/tsr --out anchors --json",
        ),
        "audit verify": (
            "rushes audit verify statement.json",
            "rushes audit verify statement.json --with-ledger",
            "rushes audit verify statement.json --json",
        ),
        "audit reconcile": (
            "rushes audit reconcile bill.csv",
            "rushes audit reconcile bill.csv --provider runway --since 2026-11-01 --until 2026-12-01",
            "rushes audit reconcile bill.csv --json",
        ),
        "poll": (
            "rushes poll 13-2b1c",
            "rushes poll gen_9f8e --provider runway",
            "rushes poll 13-2b1c --json",
        ),
        "record": (
            "rushes record 13-2b1c --out samples",
            "rushes record gen_9f8e gen_7a6d --provider runway --out samples",
            "rushes sim --compare samples",
        ),
        "models": (
            "rushes models",
            "rushes models --check",
            "rushes models --json | jq keys",
        ),
        "models show": (
            "rushes models show sora-2",
            "rushes models show fast-video",
            "rushes models show veo-pro --json",
        ),
        "models accepted": (
            "rushes models accepted",
            "rushes models accepted --days 30",
            "rushes models accepted --json",
        ),
        "models choose": (
            "rushes models choose",
            "rushes models choose --among sora-2 --among veo-flash --credits-max 20",
            "rushes models choose --seed 7 --json",
        ),
        "models repairs": (
            "rushes models repairs",
            "rushes models repairs --days 30",
            "rushes models repairs --json",
        ),
        "models compare": (
            "rushes models compare sora-2 veo-flash --prompts prompts.txt --credits-max 400",
            "rushes models compare sora-2 veo-pro --prompts prompts.txt --credits-max 99 --aspect-ratio 9:16",
            "rushes models compare sora-2 veo-flash --prompts prompts.txt --credits-max 800 --json",
        ),
        "models stats": (
            "rushes models stats",
            "rushes models stats --days 30 --prompts 50",
            "rushes models stats --account acme --json",
        ),
        "models margin": (
            "rushes models margin",
            "rushes models margin account --days 30",
            "rushes models margin day --json",
        ),
        "sim": (
            "rushes sim",
            "rushes sim --preset stormy --seed 7 --port 9000",
            "rushes sim --knobs",
        ),
        "doctor": (
            "rushes doctor",
            "rushes doctor --online",
            "rushes doctor --json",
        ),
        "migrate": (
            "rushes migrate",
            "rushes migrate --json",
            "ssh worker-1 rushes migrate",
        ),
        "backup": (
            "rushes backup copies/today",
            "rushes backup /mnt/nas/rushes-2026-11-29",
            "rushes backup copies/today --json",
        ),
        "prune": (
            "rushes prune --older-than 365d --dry-run",
            "rushes prune --older-than 365d --with-videos",
            "rushes prune --older-than 90d --account acme --vacuum",
        ),
        "erase": (
            "rushes erase --batch bat_1a2b3c4d5e6f7a8b9c0d1e2f",
            "rushes erase --item bat_1a2b3c4d5e6f7a8b9c0d1e2f-3",
            "rushes erase --account acme --json",
        ),
        "completion": (
            "rushes completion bash > ~/.local/share/bash-completion/completions/rushes",
            "rushes completion zsh > ~/.zfunc/_rushes",
            "rushes completion fish > ~/.config/fish/completions/rushes.fish",
        ),
    }
)
