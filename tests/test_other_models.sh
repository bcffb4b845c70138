#!/bin/bash
# Other projects' models from the command line: training on from one, at another image size, with
# its own rules kept; SigLIP. The models are tiny and trained on the reference images.
. tests/shell.sh
here=$folder
holds() { # holds FILE LINE: the file has the line
    grep -qxF -- "$2" "$folder/$1" && return
    echo "# $1 without \"$2\""
    return 1
}
train() { echo clip_train --config tiny.ini --quiet; }
same() { cmp -s "$folder/$1" "$folder/$2"; }

photos "$folder/photos"
pairs photos >"$folder/pairs.csv"
tail -n +2 "$folder/pairs.csv" | tr , '\n' >"$folder/texts.txt"
{
    tiny_model
    cat <<END
vision_layers = 2
text_layers = 2
context_length = 12
[data]
train_data = pairs.csv
val_data = pairs.csv
tokenizer = tokenizer.txt
aug_scale_min = 1
[train]
steps = 4
batch_size = 4
save_every = 2
val_every = 4
log_every = 1
[optim]
warmup = 1
END
} >"$folder/tiny.ini"
check "a tokenizer" run 0 clip_data tokenizer train --input texts.txt --vocab-size 520 \
    --output tokenizer.txt

# ---- a Hugging Face folder, trained on ----
check "a model" run 0 $(train) --output base
check "as a Hugging Face folder" run 0 clip_export --model base --format huggingface \
    --output hf
sed -n -e '/^tokenizer/d' -e '/^\[data\]/,$p' "$folder/tiny.ini" >"$folder/on.ini"
on="clip_train --config on.ini --quiet --init hf"
check "training goes on from it" run 0 $on --output on
found='CLIP as Hugging Face writes it, GELU, F32; images of 16 in patches of 8, 2 blocks'
check "... and says what it found" says 0 "$found" ${on/--quiet/} --output said
check "... as embedding does" says 0 "$found" clip_embed --model hf --images photos --output a.npy
check "... and measuring" says 0 "$found" clip_eval loss --model hf --data pairs.csv
check "... and exporting" says 0 "$found" clip_export --model hf --format gguf --output a.gguf
check "... of what it is told" json '"activation":"gelu"' clip_export --model hf --json --quiet \
    --format gguf --output a.gguf
check "... but not of our own" silent 0 "CLIP as" clip_embed --model base --images photos \
    --output a.npy
check "... with its sizes" holds on/config.ini 'vision_layers = 2'
check "... and its tokenizer" holds on/config.ini 'tokenizer = model'
half_of() { # half_of RUN NAME: NAME is what RUN was at its step 2
    cp -r "$folder/$1" "$folder/$2"
    rm "$folder/$2/last.h5" "$folder/$2/best.h5" "$folder/$2/checkpoints/step_4.h5"
}
half_of on own
check "... goes on by its own config.ini" prints 0 'finished after 4 steps' clip_train \
    --config own/config.ini --output own --resume --quiet
for name in on own; do
    run 0 clip_export --model $name --format safetensors --output $name.safetensors
done
check "... to the same weights" same on.safetensors own.safetensors
check "... which needs a model for another run" says 2 "tokenizer of --init's model" clip_train \
    --config on/config.ini --output none
check "... at a larger image size" run 0 $on --set model.image_size=32 --output larger
check "... which embeds" run 0 clip_embed --model larger --images photos --output larger.npy
check "... and another patch is refused" says 2 'has patch_size 8, but the configuration says 4' \
    $on --set model.patch_size=4 --output none
check "... and another kind" says 2 'is a CLIP, but the configuration says architecture = siglip' \
    $on --set model.architecture=siglip --set model.embed_dim=768 --output none

# Rules that transformers has and open_clip has not are kept by a run, and by one that is resumed.
sed -i -z 's/"clip_c": *{[^}]*}/"clip_c": {}/' "$folder/hf/config.json"
check "a folder of transformers' rules" run 0 $on --output rules
check "... crops as it does" holds rules/config.ini 'center_crop = huggingface'
check "... cleans as it does" holds rules/config.ini 'text_cleaning = huggingface'
half_of rules half
check "... also when resumed" run 0 $on --output half --resume
for name in rules half; do
    run 0 clip_export --model $name --format safetensors --output $name.safetensors
done
check "... to the same weights" same rules.safetensors half.safetensors

# ---- SigLIP ----
siglip="--set model.architecture=siglip --set model.gelu_tanh=true --set model.norm_eps=1e-6
    --set model.pad_id=1 --set train.loss=siglip"
check "a SigLIP is trained" run 0 $(train) $siglip --output siglip
check "... measured" prints 0 '"loss"' clip_eval loss --model siglip --data pairs.csv --json
check "... embeds texts" run 0 clip_embed --model siglip --texts texts.txt --output a.npy
check "... trained on" run 0 clip_train --config on.ini --quiet --init siglip \
    --set train.loss=siglip --output siglip2
check "... as the same kind" holds siglip2/config.ini 'architecture = siglip'
check "... in safetensors" run 0 clip_export --model siglip --format safetensors \
    --output s.safetensors
check "... which embeds" run 0 clip_embed --model s.safetensors --texts texts.txt --output b.npy
check "... the same" same a.npy b.npy
check "... in pieces" run 0 $(train) $siglip --set train.micro_batch=2 --output pieces
check "... in bfloat16" run 0 $(train) $siglip --set train.precision=bf16 --output bf16
check "a padding that is no word" says 2 'pad_id = 520 is no word' $(train) $siglip \
    --set model.pad_id=520 --output none
plan
