#!/bin/bash
# Fine-tuning from the command line: more than pairs to learn from, what is watched on the way, and
# mixing the weights afterwards. The models are tiny and trained on the reference images.
. tests/shell.sh
here=$folder
train() { echo clip_train --config tiny.ini --quiet; }
losses() { sed 's/.*"loss": *\([0-9.]*\).*/\1/' "$folder/$1/log.jsonl"; }
close_losses() { paste <(losses "$1") <(losses "$2") |
    awk '{d = $1 - $2; if (d * d > 1e-8) exit 1; n++} END {exit n < 3}'; }
other_losses() { ! close_losses "$1" "$2"; }

# ---- data and configuration ----
photos "$folder/photos"
printf 'filepath,title,wrong\n' >"$folder/pairs.csv"
for image in "$folder"/photos/*.png; do
    name=$(basename "$image" .png)
    printf 'photos/%s.png,an image of a %s,no %s at all\nphotos/%s.png,the %s one,\n' "$name" \
        "${name%_*}" "${name%_*}" "$name" "${name%_*}" >>"$folder/pairs.csv"
done
tail -n +2 "$folder/pairs.csv" | tr , '\n' >"$folder/texts.txt"
{
    tiny_model
    cat <<END
vision_layers = 2
text_layers = 2
[data]
train_data = pairs.csv
val_data = pairs.csv
tokenizer = tokenizer.txt
aug_scale_min = 1
[train]
steps = 6
batch_size = 4
val_every = 3
save_every = 3
log_every = 1
[optim]
lr = 1e-3
warmup = 2
END
} >"$folder/tiny.ini"
check "a tokenizer is trained" run 0 clip_data tokenizer train --input texts.txt --vocab-size 520 \
    --output tokenizer.txt
check "a model to start from" run 0 $(train) --output base
base=base/last.h5

# ---- hard negatives ----
negatives='--set data.csv_negative_key=wrong'
check "hard negatives are trained on" run 0 $(train) $negatives --output negatives
check "... and change the loss" other_losses base negatives
check "... which pieces leave as it is" run 0 $(train) $negatives --set train.micro_batch=3 \
    --output negatives-micro
check "... to 1e-4" close_losses negatives negatives-micro
check "... with the sigmoid loss too" run 0 $(train) $negatives --set train.loss=siglip \
    --output negatives-siglip
check "a caption is set against its negative" prints 0 '"negatives":5,"negative_accuracy":' \
    clip_eval retrieval --model negatives --data pairs.csv --csv-negative-key wrong --json
check "... which the table tells" prints 0 'of 5 captions fit better' clip_eval retrieval \
    --model negatives --data pairs.csv --csv-negative-key wrong
sed 's/,\([^,]*\),\(..*\)$/,\2,\1/' "$folder/pairs.csv" >"$folder/swapped.csv" # title <-> wrong
sed -i '1s/.*/filepath,title,wrong/' "$folder/swapped.csv"
accuracy() { # accuracy DATA: of the pairs that have a negative
    (cd "$folder" && "$build/clip_eval" retrieval --model negatives --data "$1" \
        --csv-negative-key wrong --json) | sed 's/.*"negative_accuracy":\([0-9.]*\).*/\1/'
}
grep -v ',$' "$folder/swapped.csv" >"$folder/swapped-whole.csv"
whole() { awk -v a="$(accuracy pairs.csv)" -v b="$(accuracy swapped-whole.csv)" \
    'BEGIN {exit !(a + b > 0.999 && a + b < 1.001)}'; }
check "... and loses as often the other way round" whole
sed 's/,\([^,]*\),\(..*\)$/,\1,\1/; 1s/.*/filepath,title,wrong/' "$folder/pairs.csv" \
    >"$folder/equal.csv"
check "... and equals are not better" prints 0 '"negative_accuracy":0.0' clip_eval retrieval \
    --model negatives --data equal.csv --csv-negative-key wrong --json
no_negatives() {
    run 0 clip_eval retrieval --model negatives --data pairs.csv --json && [[ $out != *negative* ]]
}
check "... and nothing without the column" no_negatives
check "a column that is not there" says 1 'set csv_negative_key' $(train) --output none \
    --set data.csv_negative_key=right

# ---- a teacher ----
teacher='--set train.teacher_embeddings=teacher.h5'
check "a teacher's embeddings are written" prints 0 '"rows":10' clip_embed --model $base \
    --pairs pairs.csv --output teacher.h5 --json
check "a student learns from them" run 0 $(train) $teacher --output student
check "... by more than its pairs" other_losses base student
check "... in pieces too" run 0 $(train) $teacher --set train.micro_batch=3 --output student-micro
check "... with the same losses" close_losses student student-micro
check "... as .safetensors too" run 0 clip_embed --model $base --pairs pairs.csv \
    --output teacher.safetensors
check "... and read" run 0 $(train) --output student-safetensors \
    --set train.teacher_embeddings=teacher.safetensors
check "... to the same losses" cmp <(losses student) <(losses student-safetensors)
check "without captions there is no teacher" run 0 clip_embed --model $base --images pairs.csv \
    --output images.h5
check "... which is said" says 1 'has no text_embeds' $(train) --output none \
    --set train.teacher_embeddings=images.h5
head -n 5 "$folder/pairs.csv" >"$folder/fewer.csv"
check "a teacher of other data" says 1 'is not next among the 4 samples' $(train) --output none \
    $teacher --set data.train_data=fewer.csv
check "pairs in one matrix" says 2 'write a .h5' clip_embed --model $base --pairs pairs.csv \
    --output pairs.npy

# ---- what is watched on the way ----
field() { sed -n "s/.*\"$2\": *\([-0-9.e]*\).*/\1/p" "$folder/$1/metrics.jsonl"; }
steps_of() { sed 's/.*"step": *\([0-9]*\).*/\1/' "$folder/$1/$2" | tr '\n' ' '; }
# A learning rate of next to nothing: no validation is better than the first.
still='--set train.steps=40 --set optim.lr=1e-30 --set train.best_metric=image_retrieval_recall@1'
check "a run that learns nothing stops early" prints 0 'stopped early after 9 steps' $(train) \
    $still --set train.early_stop=2 --output early
check "... having measured three times" test "$(steps_of early metrics.jsonl)" = '3 6 9 '
check "... which --resume knows" prints 0 'was finished already' $(train) $still \
    --set train.early_stop=2 --output early --resume
check "... unless it may wait longer" prints 0 'stopped early after 15 steps' $(train) $still \
    --set train.early_stop=4 --output early --resume
check "... as if it had from the start" run 0 $(train) $still --set train.early_stop=4 --output late
check "... to the same validations" cmp "$folder/early/metrics.jsonl" "$folder/late/metrics.jsonl"
check "without patience it goes to its end" prints 0 'finished after 40 steps' $(train) $still \
    --output patient
check "of equal recalls a lower loss is better: it does not stop" prints 0 \
    'finished after 40 steps' $(train) $still --set optim.lr=1e-7 --set train.early_stop=2 \
    --output slow
check "... for the recalls are equal" \
    test "$(field slow image_retrieval_recall@1 | sort -u | wc -l)" = 1
check "a share of steps is rounded up" run 0 $(train) $still --set train.steps=21 \
    --set train.val_every=25% --output quarters
check "... so that it is not measured twice at the end" test \
    "$(steps_of quarters metrics.jsonl)" = '6 12 18 21 '
check "early stopping needs something to stop by" says 2 'is never measured' $(train) \
    --set data.val_data= --set train.early_stop=2 --output none

mkdir -p "$folder/old/astronaut" "$folder/old/other"
i=0
for image in "$folder"/photos/*.png; do
    i=$((i + 1))
    cp "$image" "$folder/old/$([ $((i % 2)) = 0 ] && echo astronaut || echo other)/"
done
printf 'astronaut\nother\n' >"$folder/classes.txt"
printf 'an image of a {}\n' >"$folder/templates.txt"
probe='--set probe.images=old --set probe.classes=classes.txt --set probe.templates=templates.txt
    --set probe.data=pairs.csv'
check "an older task is watched" run 0 $(train) --init $base $probe --output watched
check "... before the first step and at each validation" test "$(steps_of watched metrics.jsonl)" \
    = '0 3 6 '
check "... by its accuracy" test "$(field watched probe_acc1 | wc -l)" = 3
check "... and its retrieval" test "$(field watched 'probe_image_retrieval_recall@1' | wc -l)" = 3
check "... which here is that of val_data" cmp <(field watched 'probe_text_retrieval_recall@5') \
    <(field watched 'text_retrieval_recall@5')
started() { # the first line of metrics.jsonl is what the model given measures by itself
    run 0 clip_eval zeroshot --model $base --images old --classes classes.txt --templates \
        templates.txt --json || return 1
    [[ $out == *"\"acc1\":$(field watched probe_acc1 | head -n 1)"* ]]
}
check "... from what the model given has" started
check "it does not choose the best" run 0 $(train) --init $base --set data.val_data= $probe \
    --output watched-only
check "... so there is none" test ! -e "$folder/watched-only/best.h5"
check "classes that are not there end a run before it begins" says 1 'nowhere.txt' $(train) $probe \
    --set probe.classes=nowhere.txt --output none
check "a half of a task does too" says 2 '[probe] images is set; set classes and templates' \
    $(train) --set probe.images=old --output none
check "a model that has learned" run 0 $(train) --set train.steps=120 --set optim.lr=3e-3 \
    --output good
check "fine-tuning that makes it worse is said" says 0 'no validation was better than the model' \
    $(train) --init good --set optim.lr=0.1 --set optim.warmup=0 --output worse

# ---- what goes wrong in silence ----
tune="$(train) --init good --set optim.lr=1e-4"
grep -v '_[0-9]*x[0-9]*\.png,a' "$folder/pairs.csv" >"$folder/short.csv"
check "nothing is said of a sound run" silent 0 warning $tune --set train.multi_positive=true \
    --set optim.warmup=10% --set data.train_data=short.csv --set data.val_data= --output sound
check "a warm-up longer than the run" says 0 'is longer than the run of 6 steps' $tune \
    --set optim.warmup=500 --output silence --force
check "a learning rate for training from scratch" says 0 'for training from scratch' $tune \
    --set optim.lr=5e-4 --output silence --force
check "... which from scratch it is" silent 0 'for training from scratch' $(train) \
    --output silence --force
check "images with several captions" says 0 'set [train] multi_positive = true' $tune \
    --output silence --force
check "... unless they may have them" silent 0 'multi_positive' $tune --output silence --force \
    --set train.multi_positive=true
check "captions that the context cuts" says 0 'are longer than [model] context_length = 5' \
    $(train) --set model.context_length=5 --output silence --force
check "... those of validation once" test \
    "$(grep -c 'validation captions* w[a-z]* longer' "$folder/err")" = 1
check "another context than the model's" says 2 'leave the key out' $tune \
    --set model.context_length=5 --output none
check "another activation than the model's" says 2 'quick_gelu' $tune --set model.quick_gelu=true \
    --output none
# Towers that the configuration's keys cannot say are told from others, and nothing is trained.
run 0 clip_export --model good --format open_clip --output towers
towers() { # FROM TO: as open_clip describes them
    sed "s/$1/$2/" "$folder/towers/open_clip_config.json" >"$folder/edited.json" || return 1
    ! cmp -s "$folder/edited.json" "$folder/towers/open_clip_config.json" &&
        cp "$folder/edited.json" "$folder/towers/open_clip_config.json"
}
check "towers of two epsilons" towers '"text_cfg": {' \
    '"text_cfg": {"norm_kwargs": {"eps": 1e-6},'
check "... are described" run 0 clip_embed --model towers --texts texts.txt --output e.npy
check "... and cannot be trained on" says 1 'say its two norm_eps' $(train) --init towers \
    --output none
check "towers of two activations" towers '"norm_kwargs": {"eps": 1e-6}' \
    '"activation": "quick_gelu"'
check "... cannot be trained on either" says 1 'say its activations' $(train) --init towers \
    --output none
check "a text tower that looks both ways" towers '"activation": "quick_gelu"' '"causal": false'
check "... cannot be trained on yet" says 1 'say its architecture' $(train) --init towers \
    --output none
check "... it embeds texts" run 0 clip_embed --model towers --texts texts.txt --output e.npy
check "... and has no states of padding" says 1 'looks both ways' clip_embed --model towers \
    --texts texts.txt --hidden-states last --output h.safetensors
check "a batch larger than the data" says 2 'smaller batch_size' $tune --set train.batch_size=99 \
    --output none
check "validation too small to stop by" says 0 'validation has only 10 pairs' $tune $still \
    --set train.early_stop=2 --output silence --force
check "... which the loss is not" silent 0 'validation has only' $tune $still --force \
    --output silence --set train.early_stop=2 --set train.best_metric=val_loss
check "validation on what is trained on" says 0 '10 of 10 samples of val_data show images' \
    $tune --output silence --force
run 0 clip_data tokenizer train --input texts.txt --vocab-size 515 --output other.txt
check "another tokenizer than the model's" says 0 'is not the one that good' $tune \
    --set data.tokenizer=other.txt --output silence --force

# ---- mixing before and after ----
old='--old-images old --old-classes classes.txt --old-templates templates.txt'
mixes="clip_eval interpolate --model good --model worse --data pairs.csv $old"
check "mixes are measured on both tasks" prints 0 '<- chosen' $mixes
check "... eleven of them" test "$(grep -c "^[01].* %" "$folder/out")" = 11
check "... and drawn and written" run 0 $mixes --alphas 0,0.25,1 --picture mix.svg \
    --output mix.h5 --json
check "... on one line of JSON" test "$(wc -l <"$folder/out")" = 1
retrieval_of() { # retrieval_of PLACE ALPHA: the mix has what the model by itself has
    local by_itself
    [[ $out =~ \"alpha\":$2,\"new\":([0-9.]*) ]] || return 1
    by_itself=${BASH_REMATCH[1]}
    run 0 clip_eval retrieval --model "$1" --data pairs.csv --json || return 1
    [[ $out == *"\"image_retrieval_recall@1\":$by_itself,"* ]]
}
check "... where 0 is the one" retrieval_of good 0.0
run 0 $mixes --alphas 0,0.25,1 --json
check "... and 1 the other" retrieval_of worse 1.0
check "the image is one" grep -q '<circle class="chosen"' "$folder/mix.svg"
check "the mix is a model" run 0 clip_eval retrieval --model mix.h5 --data pairs.csv
check "the mix at 0" prints 0 '"alpha":0.0' $mixes --choose 0 --alphas 0 --json \
    --output none.safetensors
check "... is the model to the byte" run 0 clip_export --model good --format safetensors \
    --output good.safetensors
check "..." cmp "$folder/good.safetensors" "$folder/none.safetensors"
check "without data a mix is only written" run 0 clip_eval interpolate good worse --choose 0.5 \
    --output half.safetensors
check "data and classes are the new and the old task" prints 0 '"old_metric":"acc1"' clip_eval \
    interpolate good worse --data pairs.csv --images old --classes classes.txt \
    --templates templates.txt --alphas 0,0.5,...,1 --json
check "one model" says 2 'give two models' clip_eval interpolate --model good --data pairs.csv
check "no task" says 2 'give a task' clip_eval interpolate good worse
check "an alpha past 1" says 2 'is no share of B' $mixes --alphas 0,1.5
check "a half of a task" says 2 'needs --old-classes' clip_eval interpolate good worse \
    --old-images old
check "a model of another size" run 0 $(train) --set model.vision_width=24 --output wide
check "... cannot be mixed" says 1 'differ in their visual.' clip_eval interpolate good wide \
    --data pairs.csv

# ---- LoRA ----
lora="$(train) --init good --set lora.rank=2 --set optim.ema_decay=0.5
    --set train.multi_positive=true"
check "LoRA trains the paths alone" prints 0 '"trained_parameters":512' $lora --dry-run --json \
    --output dry
check "a LoRA run" run 0 $lora --output lora
check "... leaves a small adapter" ls "$folder"/lora/adapter/adapter_{model.safetensors,config.json}
check "... that PEFT knows" grep -q '"target_modules":\["q_proj","v_proj"\]' \
    "$folder/lora/adapter/adapter_config.json"
check "... of the paths" grep -aq \
    'base_model.model.vision_model.encoder.layers.1.self_attn.v_proj.lora_B.weight' \
    "$folder/lora/adapter/adapter_model.safetensors"
check "its checkpoint is a model like any" run 0 clip_eval retrieval --model lora --data pairs.csv \
    --json
measured=$(sed 's/,"text_retrieval.*//' "$folder/out")
last_metric() { tail -n 1 "$folder/$1/metrics.jsonl"; }
check "... with what validation measured" test "$(grep -o '"image_retrieval_recall@1":[0-9.]*' \
    <<<"$measured")" = "$(last_metric lora | grep -o '"image_retrieval_recall@1":[0-9.]*')"
cp -r "$folder/lora" "$folder/lora-whole"
rm "$folder"/lora/checkpoints/step_6.h5
ln -f "$folder/lora/checkpoints/step_3.h5" "$folder/lora/last.h5"
check "it goes on" run 0 $lora --output lora --resume
check "... to the same bytes" cmp "$folder/lora/last.h5" "$folder/lora-whole/last.h5"
check "... and the same adapter" cmp "$folder/lora/adapter/adapter_model.safetensors" \
    "$folder/lora-whole/adapter/adapter_model.safetensors"
check "it is exported merged" run 0 clip_export --model lora --format safetensors \
    --output lora.safetensors
no_paths() { ! grep -aq lora_ "$folder/lora.safetensors"; }
check "... without paths" no_paths
check "the small file is a model too" run 0 clip_export --model lora/adapter --format safetensors \
    --output merged.safetensors
check "... the same to the byte" cmp "$folder/lora.safetensors" "$folder/merged.safetensors"
check "... by its file's name" prints 0 '"image_retrieval_recall@1"' clip_eval retrieval \
    --model lora/adapter/adapter_model.safetensors --data pairs.csv --json
check "... for texts alone" run 0 clip_embed --model lora/adapter --texts texts.txt \
    --output merged.npy
check "... as the run" run 0 clip_embed --model lora --texts texts.txt --output whole.npy
check "... to the bit" cmp "$folder/merged.npy" "$folder/whole.npy"
check "... to search with" run 0 clip_search index --model lora/adapter --images photos \
    --output lora.index --quiet
check "... and again" prints 0 '' clip_search query --index lora.index --text 'an image'
check "a model may be tuned from the small file" run 0 $(train) --init lora/adapter --output again
damage() { # damage WORD BY: another copy of the adapter
    rm -rf "$folder/bad" && cp -r "$folder/lora/adapter" "$folder/bad" &&
        sed -i "s#$1#$2#" "$folder/bad/adapter_config.json" && ! cmp -s \
            "$folder/bad/adapter_config.json" "$folder/lora/adapter/adapter_config.json"
}
refused() { # refused NAME WORD BY TEXT: what is said of such a copy
    damage "$2" "$3" && check "$1" says 1 "$4" clip_export --model bad --format safetensors \
        --output none.safetensors
}
refused "an adapter whose base is gone" '"good"' '"gone/model"' 'its base model: gone/model'
refused "... of another model" '"good"' '"wide"' 'has shape'
refused "... of another kind" '"LORA"' '"LOHA"' 'only LORA'
refused "... with weights beside the paths" '"none"' '"all"' '"bias" is set'
refused "... of another rank" '"r":2' '"r":3' 'has shape'
refused "... of no rank" '"r":2' '"r":0' '"r" and "lora_alpha"'
rm -rf "$folder/bad" && cp -r "$folder/lora/adapter" "$folder/bad"
rm "$folder/bad/adapter_model.safetensors"
check "... without its paths" says 1 'there is no adapter_model.safetensors' clip_export \
    --model bad --format safetensors --output none.safetensors
check "a model may be tuned from it" run 0 $(train) --init lora --output lora-tuned
check "a path for a word that is none" says 2 '"query" is none of q, k, v' $lora --output none \
    --set lora.targets=query
check "LoRA without a model" says 2 'name it by --init' $(train) --set lora.rank=2 --output none
check "all of it in bf16, in pieces" run 0 $lora --set lora.targets=all --set train.micro_batch=3 \
    --set train.precision=bf16 --output lora-all

# ---- configs/finetune.ini, as it is ----
mkdir "$folder/many"
printf 'filepath\ttitle\n' >"$folder/many.tsv"
for ((i = 0; i < 140; i++)); do
    for image in "$folder"/photos/*.png; do
        name=$(basename "$image" .png)
        ln "$image" "$folder/many/$i-$name.png"
        printf 'many/%s.png\ta image of a %s, the %sth\n' "$i-$name" "${name%_*}" "$i"
    done
done >>"$folder/many.tsv"
cp configs/finetune.ini "$folder"
tuning='clip_train --config finetune.ini --init good --set data.train_data=many.tsv --quiet'
check "it trains no model from nothing" says 2 'name one by --init' clip_train \
    --config finetune.ini --set data.train_data=many.tsv --output none
check "700 pairs and a model are enough" run 0 $tuning --output tuned
check "... some of them validate" test "$(wc -l <"$folder/tuned/metrics.jsonl")" -ge 5
check "... the best is kept" test -e "$folder/tuned/best.h5"
check "... and it goes on to the same end" prints 0 'was finished already' $tuning --output tuned \
    --resume
check "a teacher of all of them" run 0 clip_embed --model good --pairs many.tsv --output many.h5
check "... teaches those that are trained on" run 0 $tuning --output taught \
    --set train.teacher_embeddings=many.h5 --set train.epochs=1
check "a share that holds nothing out" says 2 'val_share = 1e-06 leaves 0 samples' $tuning \
    --set data.val_share=0.000001 --output none

# ---- locked towers ----
lit="$(train) --init good --set train.lock_image=true --set train.multi_positive=true"
check "a locked image tower (LiT)" run 0 $lit --output lit
check "... keeps its embeddings" test -s "$folder/lit/locked_images.h5"
check "... which change no loss" run 0 $lit --set train.cache_locked=off --output lit-off
check "... to 1e-4" close_losses lit lit-off
check "... and only where they are asked for" test ! -e "$folder/lit-off/locked_images.h5"
check "... in pieces too" run 0 $lit --set train.micro_batch=3 --output lit-micro
check "... to 1e-4" close_losses lit lit-micro
cp -r "$folder/lit" "$folder/lit-whole"
step_back() { # step_back PLACE: to its third step
    rm "$folder/$1/checkpoints/step_6.h5"
    ln -f "$folder/$1/checkpoints/step_3.h5" "$folder/$1/last.h5"
}
step_back lit
check "it goes on from what is kept" run 0 $lit --output lit --resume
check "... to the same bytes" cmp "$folder/lit/last.h5" "$folder/lit-whole/last.h5"
step_back lit
rm "$folder/lit/locked_images.h5"
check "... and from nothing" run 0 $lit --output lit --resume
check "... to the same bytes" cmp "$folder/lit/last.h5" "$folder/lit-whole/last.h5"
check "augmented images are not kept" run 0 $lit --set data.aug_scale_min=0.5 --output lit-aug
check "... " test ! -e "$folder/lit-aug/locked_images.h5"
check "nor those of a tower with unlocked blocks" run 0 $lit --output lit-top \
    --set train.unlocked_image_blocks=1
check "... " test ! -e "$folder/lit-top/locked_images.h5"
text="$(train) --init good --set train.lock_text=true $negatives"
check "a locked text tower, hard negatives with it" run 0 $text --output text
check "... keeps its own" run 0 $text --set train.cache_locked=off --output text-off
check "... which changes no loss" close_losses text text-off
printf 'not an image' >"$folder/photos/broken.png"
{ cat "$folder/pairs.csv"; echo 'photos/broken.png,a broken one,'; } >"$folder/broken.csv"
check "an image that cannot be read is a bad sample" says 0 'skipped: broken.csv:12' $lit \
    --output lit-broken --set data.train_data=broken.csv --set data.max_bad_fraction=0.5
plan
