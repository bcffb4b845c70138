#include "formats/families.h"

#include <stdio.h>
#include <string.h>

/* transformers' model_type. */
static const struct {
    const char *type, *family;
} types[] = {
    {"align", "ALIGN"},
    {"blip", "BLIP"},
    {"blip-2", "BLIP-2"},
    {"blip_2_qformer", "BLIP-2"},
    {"instructblip", "InstructBLIP"},
    {"bridgetower", "BridgeTower"},
    {"clap", "CLAP (sound and text)"},
    {"clipseg", "CLIPSeg"},
    {"clvp", "CLVP (speech and text)"},
    {"dinov2", "DINOv2"},
    {"flava", "FLAVA"},
    {"git", "GIT"},
    {"groupvit", "GroupViT"},
    {"idefics", "IDEFICS"},
    {"idefics2", "IDEFICS"},
    {"jina_clip", "Jina CLIP"},
    {"llava", "LLaVA"},
    {"llava_next", "LLaVA-NeXT"},
    {"llava_onevision", "LLaVA-OneVision"},
    {"mobileclip", "MobileCLIP"},
    {"owlvit", "OWL-ViT"},
    {"owlv2", "OWLv2"},
    {"paligemma", "PaliGemma"},
    {"pe", "Perception Encoder (PE)"},
    {"qwen2_vl", "Qwen2-VL"},
    {"qwen2_5_vl", "Qwen2.5-VL"},
    {"siglip2", "SigLIP 2 of any image size (NaFlex)"},
    {"vilt", "ViLT"},
    {"vit", "ViT without a text tower"},
    {"x_clip", "X-CLIP (video)"},
    {"xclip", "X-CLIP (video)"},
};

/* How transformers' "architectures" and open_clip's "timm_model_name" begin or what they hold. */
static const struct {
    const char *part, *family;
} architectures[] = {{"EvaCLIP", "EVA-CLIP"}, {"EVACLIP", "EVA-CLIP"}, {"Llava", "LLaVA"}},
  trunks[] = {
      {"convnext", "ConvNeXt CLIP"},
      {"eva02", "EVA02 CLIP"},
      {"eva", "EVA CLIP"},
      {"mobileclip", "MobileCLIP"},
      {"fastvit", "MobileCLIP"},
      {"_mci_", "MobileCLIP"},
      {"vitamin", "ViTamin CLIP"},
      {"vit_pe_", "Perception Encoder (PE)"},
      {"naflexvit", "SigLIP 2 of any image size (NaFlex)"},
      {"resnet", "ResNet CLIP of timm's"},
      {"swin", "Swin CLIP"},
};

/* Weights that nothing else has, the narrower first. */
static const struct {
    const char *part, *family;
} weights_of[] = {
    {"multi_modal_projector.", "LLaVA"},
    {"mm_projector.", "LLaVA"},
    {"language_projection.", "BLIP-2"},
    {"text_decoder.bert.", "BLIP"},
    {"visual_encoder.blocks.", "BLIP"},
    {"decoder.film_mul.", "CLIPSeg"},
    {"text_decoder.resblocks.", "CoCa"},
    {"visual.trunk.patch_embed.backbone.stem.", "ViTamin CLIP"},
    {"image_encoder.model.", "MobileCLIP"},
    {".token_mixer.", "MobileCLIP"},
    {"visual.trunk.stages.0.blocks.0.conv_dw.", "ConvNeXt CLIP"},
    {"visual.trunk.blocks.0.mlp.fc1_g.", "EVA02 CLIP"},
    {"visual.blocks.0.mlp.w1.", "EVA02 CLIP"},
    {"visual.blocks.0.attn.q_bias", "EVA CLIP"},
    {"visual.attn_pool.attn.in_proj_weight", "Perception Encoder (PE)"},
    {"vision_model.encoder.blocks.0.depthwise_conv", "ALIGN"},
};

/* Blocks of the third stage tell OpenAI's ResNets apart. */
static const struct {
    int blocks;
    const char *family;
} resnets[] = {
    {6, "ResNet CLIP (RN50)"},     {23, "ResNet CLIP (RN101)"},   {10, "ResNet CLIP (RN50x4)"},
    {18, "ResNet CLIP (RN50x16)"}, {36, "ResNet CLIP (RN50x64)"},
};

static const char *resnet(int blocks)
{
    for (size_t i = 0; i < sizeof resnets / sizeof *resnets; i++)
        if (resnets[i].blocks == blocks) return resnets[i].family;
    return "ResNet CLIP";
}

const char *clip_family_of_huggingface(const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const json_t *list = json_object_get(config, "architectures");
    const char *first = json_string_value(json_array_get(list, 0));
    for (size_t i = 0; first != NULL && i < sizeof architectures / sizeof *architectures; i++)
        if (strncmp(first, architectures[i].part, strlen(architectures[i].part)) == 0)
            return architectures[i].family;
    for (size_t i = 0; type != NULL && i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i].type) == 0) return types[i].family;
    return NULL;
}

const char *clip_family_of_open_clip(const json_t *config)
{
    const json_t *inner = json_object_get(config, "model_cfg");
    const json_t *model = inner != NULL ? inner : config;
    const json_t *vision = json_object_get(model, "vision_cfg");
    const json_t *layers = json_object_get(vision, "layers");
    const char *trunk = json_string_value(json_object_get(vision, "timm_model_name"));
    if (json_is_array(layers)) return resnet((int)json_integer_value(json_array_get(layers, 2)));
    if (json_object_size(json_object_get(model, "multimodal_cfg")) > 0) return "CoCa";
    for (size_t i = 0; trunk != NULL && i < sizeof trunks / sizeof *trunks; i++)
        if (strstr(trunk, trunks[i].part) != NULL) return trunks[i].family;
    return NULL;
}

const char *clip_family_of_weights(const struct clip_bundle *weights)
{
    int blocks = 0, block;
    for (size_t k = 0; k < sizeof weights_of / sizeof *weights_of; k++)
        for (int64_t i = 0; i < weights->tensor_count; i++)
            if (strstr(weights->tensors[i].name, weights_of[k].part) != NULL)
                return weights_of[k].family;
    for (int64_t i = 0; i < weights->tensor_count; i++) {
        const char *at = strstr(weights->tensors[i].name, "visual.layer3.");
        if (at != NULL && sscanf(at, "visual.layer3.%d.", &block) == 1 && block >= blocks)
            blocks = block + 1;
    }
    return blocks > 0 ? resnet(blocks) : NULL;
}

clip_status clip_family_refuse(const char *family, const char *name, struct clip_error *error)
{
    if (family == NULL) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s: this is a model of the family %s: not read yet; give a CLIP or a SigLIP "
                     "whose towers are plain transformers (docs/models.md lists them)",
                     name, family);
}
